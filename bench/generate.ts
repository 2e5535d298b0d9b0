// `npm run bench -- generate`: prefill and decode of a model in OLMoE's shapes on the CPU, in
// WebAssembly, and beside it llama.cpp. See README.md.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Plan, measure } from "./src/generate/measure.ts";
import type { ExpertFormat, RestFormat } from "./src/generate/olmoe.ts";
import { ROWS_FILE, measureUnder, ownVersion } from "./src/moe/engines.ts";
import { type Options, print, readOptions, runProgram } from "./src/options.ts";
import { type Row, tableOf, writeRows } from "./src/rows.ts";

/** The version that the goals are for. */
const VERSION = 24;
const FORMATS: readonly ExpertFormat[] = ["f32", "q8", "q4"];
const RESTS: readonly RestFormat[] = ["f32", "f16"];
const VALUES = ["layers", "samples", "prompts", "formats", "rest"] as const;
const HIDDEN_COLUMNS = ["node", "threads", "operations", "bytes", "peakGflops", "peakGBs"];

await runProgram(async () => {
  const options = readOptions({ values: ["json", "threads", ...VALUES], switches: ["no-peers"] });
  const rowsFile = process.env[ROWS_FILE];
  if (rowsFile === undefined) return conduct(options);
  writeRows(rowsFile, await measure(planOf(options), ownVersion));
  return 0;
});

/** One process after another, for each number of threads. */
async function conduct(options: Options): Promise<number> {
  const threadCounts = options.numbers("threads", [
    ...new Set([Math.min(2, availableParallelism()), 1]),
  ]);
  planOf(options);
  const folder = mkdtempSync(join(tmpdir(), "moiety-bench-"));
  const rows: Row[] = [];
  try {
    for (const threads of threadCounts) {
      const file = join(folder, `${threads}.json`);
      // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
      await measureUnder(VERSION, parametersFor(options, threads), file);
      const found = JSON.parse(readFileSync(file, "utf8")) as Row[];
      show(found, threads);
      rows.push(...found);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const file = options.text("json");
  if (file !== undefined) writeRows(file, rows);
  return 0;
}

function parametersFor(options: Options, threads: number): string[] {
  const given = VALUES.flatMap((name) => {
    const text = options.text(name);
    return text === undefined ? [] : [`--${name}`, text];
  });
  const peers = options.has("no-peers") ? ["--no-peers"] : [];
  return [...given, "--threads", String(threads), ...peers];
}

function planOf(options: Options): Plan {
  return {
    threads: options.numbers("threads", [1])[0] ?? 1,
    layers: options.number("layers", 2),
    samples: options.number("samples", 7),
    prompts: options.numbers("prompts", [128, 512]),
    formats: wordsOf(options, "formats", FORMATS),
    rest: wordsOf(options, "rest", RESTS)[0] ?? "f32",
    peers: !options.has("no-peers"),
  };
}

/** Words of an option; all there are unless given. @throws Error for others */
function wordsOf<Word extends string>(
  options: Options,
  name: string,
  known: readonly Word[],
): readonly Word[] {
  const given = options.text(name)?.split(",") ?? known;
  const unknown = given.find((word) => !known.includes(word as Word));
  if (unknown === undefined) return given as readonly Word[];
  throw new Error(`--${name} takes ${known.join(", ")}, not "${unknown}"`);
}

function show(rows: readonly Row[], threads: number): void {
  print(`${threads === 1 ? "one thread" : `${threads} threads`}; medians in milliseconds`);
  for (const line of tableOf(rows, HIDDEN_COLUMNS)) print(line);
  const [first] = rows;
  print(`at most ${String(first?.["peakGflops"])} GFLOP/s and ${String(first?.["peakGBs"])} GB/s`);
}

// `npm run bench -- moe`: MoE layers on the CPU, in WebAssembly, and beside them onnxruntime's native
// and WebAssembly builds. See README.md.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { ROWS_FILE, measureUnder, ownVersion } from "./src/moe/engines.ts";
import { type Part, type Plan, measure, parts } from "./src/moe/measure.ts";
import { type Options, print, readOptions, runProgram } from "./src/options.ts";
import { type Row, tableOf, writeRows } from "./src/rows.ts";

/** The version that the goals are for, and the oldest that is supported. */
const VERSIONS = [24, 20] as const;
const FEWER_PARTS: readonly Part[] = ["products", "layers", "training"];
const HIDDEN_COLUMNS = [
  "note",
  "exact",
  "node",
  "threads",
  "error",
  "peerError",
  "operations",
  "bytes",
  "peakGflops",
  "peakGBs",
  "rowsPerExpert",
];

await runProgram(async () => {
  const options = readOptions({
    values: ["json", "threads", "tokens", "samples", "parts", "node"],
    switches: ["no-peers", "short"],
  });
  const rowsFile = process.env[ROWS_FILE];
  if (rowsFile === undefined) return conduct(options);
  writeRows(rowsFile, await measure(planOf(options), ownVersion));
  return 0;
});

/** One process after another: versions of Node, and for each one thread and more. */
async function conduct(options: Options): Promise<number> {
  const versions = options.numbers("node", VERSIONS);
  const threadCounts = options.numbers("threads", [
    ...new Set([Math.min(2, availableParallelism()), 1]),
  ]);
  planOf(options);
  const folder = mkdtempSync(join(tmpdir(), "moiety-bench-"));
  const rows: Row[] = [];
  try {
    for (const version of versions) {
      for (const threads of threadCounts) {
        const file = join(folder, `${version}-${threads}.json`);
        // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
        await measureUnder(version, parametersFor(options, version, threads), file);
        const found = JSON.parse(readFileSync(file, "utf8")) as Row[];
        show(found, version, threads);
        rows.push(...found);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const file = options.text("json");
  if (file !== undefined) writeRows(file, rows);
  return 0;
}

/** Under an older version only what the goals are for is measured, unless parts are named. */
function parametersFor(options: Options, version: number, threads: number): string[] {
  const fewer = version === VERSIONS[0] ? undefined : FEWER_PARTS.join();
  const given = ["tokens", "samples", "parts"].flatMap((name) => {
    const text = options.text(name) ?? (name === "parts" ? fewer : undefined);
    return text === undefined ? [] : [`--${name}`, text];
  });
  const short = options.has("short") || version !== VERSIONS[0];
  return [
    ...given,
    "--threads",
    String(threads),
    ...(options.has("no-peers") ? ["--no-peers"] : []),
    ...(short ? ["--short"] : []),
  ];
}

function planOf(options: Options): Plan {
  const named = options.text("parts")?.split(",") ?? parts;
  const unknown = named.find((name) => !parts.includes(name as Part));
  if (unknown !== undefined) throw new Error(`--parts takes ${parts.join(", ")}, not "${unknown}"`);
  return {
    threads: options.numbers("threads", [1])[0] ?? 1,
    samples: options.number("samples", 7),
    tokenCounts: options.numbers("tokens", [1, 128, 512]),
    parts: parts.filter((part) => named.includes(part)),
    peers: !options.has("no-peers"),
    short: options.has("short"),
  };
}

function show(rows: readonly Row[], version: number, threads: number): void {
  print(
    `Node ${version}, ${threads === 1 ? "one thread" : `${threads} threads`}; medians in milliseconds`,
  );
  for (const line of tableOf(rows, HIDDEN_COLUMNS)) print(line);
  const [first] = rows;
  print(`at most ${String(first?.["peakGflops"])} GFLOP/s and ${String(first?.["peakGBs"])} GB/s`);
  for (const note of new Set(rows.flatMap((row) => row.note ?? []))) print(`note: ${note}`);
}

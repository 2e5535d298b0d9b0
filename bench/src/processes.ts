import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type OptionNames, type Options, print, readOptions, runProgram } from "./options.ts";
import { type Row, tableOf, writeRows } from "./rows.ts";

/** Name of the variable that tells a process to measure, and where its rows go. */
const ROWS_FILE = "MOIETY_BENCH_ROWS";
/** What is measured on unless `--threads` says otherwise: at most so many threads, then one. */
const USUAL_THREADS = 2;

/** The major version of the Node that runs this. */
export const ownVersion: number = Number(process.versions.node.split(".")[0]);

/** A process that measures. */
export interface Measuring {
  /** Major version of Node. */
  readonly version: number;
  readonly threads: number;
  /** What the program is given there. */
  readonly parameters: readonly string[];
}

/** A program that measures in processes of its own. */
export interface MeasuringProgram {
  /** Its options. `json` is among them. */
  readonly options: OptionNames;
  /** Columns that its tables leave out. */
  readonly hidden: readonly string[];
  /** Which processes measure, in order. @throws Error in one line for options that make no sense */
  processes(options: Options): readonly Measuring[];
  /** Measures, in one of them. */
  measure(options: Options): Promise<Row[]>;
}

/** Runs such a program: shows what each process finds, and writes the rows of all where `--json` says. */
export async function runMeasuring(program: MeasuringProgram): Promise<void> {
  await runProgram(async () => {
    const options = readOptions(program.options);
    const rowsFile = process.env[ROWS_FILE];
    if (rowsFile === undefined) return conduct(program, options);
    writeRows(rowsFile, await program.measure(options));
    return 0;
  });
}

/** Numbers of threads, one process for each. */
export function threadCounts(options: Options): readonly number[] {
  const usual = new Set([Math.min(USUAL_THREADS, availableParallelism()), 1]);
  return options.numbers("threads", [...usual]);
}

/** Options of the command line that a process is given as they are. */
export function passedOn(options: Options, { values, switches = [] }: OptionNames): string[] {
  return [
    ...values.flatMap((name) => {
      const text = options.text(name);
      return text === undefined ? [] : [`--${name}`, text];
    }),
    ...switches.filter((name) => options.has(name)).map((name) => `--${name}`),
  ];
}

/** One process after another. */
async function conduct(program: MeasuringProgram, options: Options): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "moiety-bench-"));
  const rows: Row[] = [];
  try {
    for (const [index, measuring] of program.processes(options).entries()) {
      const file = join(folder, `${index}.json`);
      // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
      await measureIn(measuring, file);
      const found = JSON.parse(readFileSync(file, "utf8")) as Row[];
      show(found, measuring, program.hidden);
      rows.push(...found);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const file = options.text("json");
  if (file !== undefined) writeRows(file, rows);
  return 0;
}

function show(
  rows: readonly Row[],
  { version, threads }: Measuring,
  hidden: readonly string[],
): void {
  const workers = threads === 1 ? "one thread" : `${threads} threads`;
  print(`Node ${version}, ${workers}; medians in milliseconds`);
  for (const line of tableOf(rows, hidden)) print(line);
  print(peakText(rows[0]));
  for (const note of new Set(rows.flatMap((row) => row.note ?? []))) print(`note: ${note}`);
}

function peakText(row: Row | undefined): string {
  const peak = (name: string): string => String(row?.[name]);
  const operations = `${peak("peakGflops")} GFLOP/s, on bytes ${peak("peakByteGops")} Gop/s`;
  return `at most ${operations}; ${peak("peakGBs")} GB/s`;
}

/**
 * Runs this program once more, to measure.
 *
 * @throws Error where it cannot be run or fails
 */
async function measureIn(
  { version, threads, parameters }: Measuring,
  rowsFile: string,
): Promise<void> {
  const [, program = ""] = process.argv;
  const own = version === ownVersion;
  // The npm package `node` brings a binary of the version.
  const [command, first] = own
    ? [process.execPath, [program]]
    : ["npm", ["exec", "--yes", "--prefer-offline", "--", `node@${version}`, program]];
  const child = spawn(command, [...first, "--threads", String(threads), ...parameters], {
    env: { ...process.env, [ROWS_FILE]: rowsFile },
    stdio: ["ignore", "inherit", "inherit"],
    shell: !own && process.platform === "win32",
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (found) => resolve(found ?? 1));
  });
  if (code !== 0) throw new Error(`measuring under Node ${version} failed (exit code ${code})`);
}

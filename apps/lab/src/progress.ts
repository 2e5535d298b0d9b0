import { panelLines } from "./panel.ts";
import type { ModelName, StepRecord } from "./result.ts";
import { type Pace, paceWords, stepWords } from "./step-words.ts";
import { type Twins, forTwins, modelNames } from "./twins.ts";

/** Where the progress goes: a terminal, where it is rewritten, or anything else. */
export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** Whether it shows colours. */
  hasColors?(): boolean;
  /** Takes a part of what is shown. */
  write(text: string): unknown;
}

/** Which steps are counted, and by which clock. */
export interface ProgressRange {
  /** Steps done before. */
  readonly done: number;
  /** Steps at which this part of the run ends. */
  readonly last: number;
  /** Length of the schedule. */
  readonly steps: number;
  /** Milliseconds since some moment. */
  readonly now: () => number;
}

/** The progress of a run: a panel in a terminal, a line now and then elsewhere. */
export interface Progress {
  /** Takes the record of one model's step; it is shown when all models are done with it. */
  step(record: StepRecord): void;
  /** Writes a line of its own that stays. */
  note(line: string): void;
  /** Shows the last step. */
  finish(): void;
}

/** In a terminal it is rewritten this often, elsewhere there is a new line, in milliseconds. */
const intervals = { terminal: 100, elsewhere: 5000 } as const;

/** What is not known of a terminal. */
const usual = { columns: 80, rows: 24 } as const;

/** Starts the progress of a run, or of the part of it that is still to do. */
export function startProgress(output: ProgressOutput, range: ProgressRange): Progress {
  const interval = output.isTTY === true ? intervals.terminal : intervals.elsewhere;
  const picture = output.isTTY === true ? repaint(output) : undefined;
  const started = range.now();
  const seen = gather();
  let shownAt = Number.NEGATIVE_INFINITY;
  let shownStep = range.done;

  const show = (): void => {
    const latest = seen.latest();
    if (latest === undefined || latest.sparse.step === shownStep) return;
    shownAt = range.now();
    shownStep = latest.sparse.step;
    const pace = paceOf(latest, range, (shownAt - started) / 1000);
    const words = stepWords(Object.values(latest), latest.sparse.load, pace);
    if (picture === undefined) {
      output.write(`${words.full}\n`);
      return;
    }
    const { columns = usual.columns, rows = usual.rows } = output;
    const content = { head: paceWords(pace), latest, curves: seen.curves, heldOut: seen.heldOut };
    // The last column stays free: some terminals break the line behind it.
    const width = columns - 1;
    const lines = panelLines(content, width, rows) ?? [words.short.slice(0, Math.max(0, width))];
    picture.paint(output.hasColors?.() === true ? lines.map(coloured) : lines);
  };
  return {
    step: (record) => {
      seen.take(record);
      if (range.now() - shownAt >= interval) show();
    },
    note: (line) => {
      if (picture === undefined) output.write(`${line}\n`);
      else picture.above(line);
    },
    finish: show,
  };
}

/** The models' colours, as near to those of the report as a terminal's own are. */
const colours: Twins<number> = { sparse: 94, dense: 33, hash: 36 };

function coloured(line: string): string {
  const name = modelNames.find((model) => line.startsWith(`${model} `));
  return name === undefined ? line : `\u001b[${colours[name]}m${line}\u001b[0m`;
}

/** Lines at the end of a terminal's text that are written again and again. */
interface Picture {
  paint(lines: readonly string[]): void;
  /** Writes a line that stays above the picture. */
  above(line: string): void;
}

function repaint(output: ProgressOutput): Picture {
  let painted: readonly string[] = [];
  const write = (before: string, lines: readonly string[]): void => {
    const back = painted.length > 0 ? `\r\u001b[${painted.length}A` : "";
    const text = lines.map((line) => `${line}\u001b[K\n`).join("");
    // Whatever stands below, such as the echo of a key, goes.
    output.write(`${back}${before}${text}\u001b[J`);
    painted = lines;
  };
  return {
    paint: (lines) => write("", lines),
    above: (line) => write(`${line}\u001b[K\n`, painted),
  };
}

/** What has been seen of a run. */
interface Seen {
  take(record: StepRecord): void;
  /** The last step, once all models have done it. */
  latest(): Twins<StepRecord> | undefined;
  readonly curves: Twins<readonly number[]>;
  readonly heldOut: Partial<Twins<number>>;
}

function gather(): Seen {
  const last = new Map<ModelName, StepRecord>();
  const curves = forTwins((): number[] => []);
  const heldOut: { [name in ModelName]?: number } = {};
  return {
    curves,
    heldOut,
    take: (record) => {
      const { model, bitsPerByte, heldOutBitsPerByte } = record;
      last.set(model, record);
      curves[model].push(bitsPerByte);
      if (heldOutBitsPerByte !== undefined) heldOut[model] = heldOutBitsPerByte;
    },
    latest: () => {
      const [sparse, dense, hash] = modelNames.map((name) => last.get(name));
      if (sparse === undefined || dense === undefined || hash === undefined) return undefined;
      const together = dense.step === sparse.step && hash.step === sparse.step;
      return together ? { sparse, dense, hash } : undefined;
    },
  };
}

function paceOf(latest: Twins<StepRecord>, range: ProgressRange, seconds: number): Pace {
  const records = Object.values(latest);
  const { step } = latest.sparse;
  const here = step - range.done;
  const spent = records.reduce((sum, { tokensPerSecond }) => sum + 1 / tokensPerSecond, 0);
  return {
    step,
    steps: range.steps,
    tokensPerSecond: records.length / spent,
    left: here > 0 ? (seconds / here) * (range.last - step) : 0,
  };
}

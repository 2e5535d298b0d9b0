import { bits, duration, size, times } from "./format.ts";
import { loadStatistics } from "./loads.ts";
import type { ModelName, StepRecord } from "./result.ts";
import { modelNames } from "./twins.ts";

/** Where the progress line goes: a terminal, where it is rewritten, or anything else. */
export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
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

/** The progress of a run, one line. */
export interface Progress {
  /** Takes the record of one model's step; the line is shown when all models are done with it. */
  step(record: StepRecord): void;
  /** Writes a line of its own that stays. */
  note(line: string): void;
  /** Shows the last step and ends the line. */
  finish(): void;
}

/** In a terminal the line is rewritten this often, elsewhere it is a new line, in milliseconds. */
const intervals = { terminal: 100, elsewhere: 5000 } as const;

/** Starts the progress line of a run, or of the part of it that is still to do. */
export function startProgress(output: ProgressOutput, range: ProgressRange): Progress {
  const terminal = output.isTTY === true;
  const interval = terminal ? intervals.terminal : intervals.elsewhere;
  const started = range.now();
  const latest = new Map<ModelName, StepRecord>();
  let shownAt = Number.NEGATIVE_INFINITY;
  let shownStep = range.done;
  let open = false;

  const show = (): void => {
    const sparse = latest.get("sparse");
    const records = modelNames.flatMap((name) => latest.get(name) ?? []);
    if (sparse === undefined || records.length < modelNames.length) return;
    if (sparse.step === shownStep || records.some(({ step }) => step !== sparse.step)) return;
    shownAt = range.now();
    shownStep = sparse.step;
    const words = progressWords(records, sparse.load, range, (shownAt - started) / 1000);
    if (terminal) output.write(`\r${fitted(words, (output.columns ?? 80) - 1)}\u001b[K`);
    else output.write(`${words.full}\n`);
    open = terminal;
  };
  const endLine = (): void => {
    if (open) output.write("\n");
    open = false;
  };
  return {
    step: (record) => {
      latest.set(record.model, record);
      if (range.now() - shownAt >= interval) show();
    },
    note: (line) => {
      endLine();
      output.write(`${line}\n`);
    },
    finish: () => {
      show();
      endLine();
    },
  };
}

/** The progress line after one step of all models; figures are in the order of the models. */
export interface ProgressWords {
  readonly full: string;
  /** The same for a narrow terminal. */
  readonly short: string;
}

/**
 * Puts a step of all models into words.
 *
 * @param load of the sparse model.
 * @param seconds time since this part of the run began.
 */
function progressWords(
  records: readonly StepRecord[],
  load: StepRecord["load"],
  range: ProgressRange,
  seconds: number,
): ProgressWords {
  const done = records[0]?.step ?? 0;
  const here = done - range.done;
  const left = duration(here > 0 ? (seconds / here) * (range.last - done) : 0);
  // Tokens of all models over the time of all.
  const spent = records.reduce((sum, { tokensPerSecond }) => sum + 1 / tokensPerSecond, 0);
  const rate = size(records.length / spent);
  const step = `${done}/${range.steps}`;
  const loss = records.map((record) => record.loss.toFixed(3)).join("/");
  const figure = records.map(({ bitsPerByte }) => bits(bitsPerByte)).join("/");
  const { busiest, idlest } = extremes(load);
  return {
    full:
      `step ${step}  loss ${loss}  bits/byte ${figure}  ${rate} tokens/s  ${left} left  ` +
      `busiest expert ${busiest}, idlest ${idlest}`,
    short: `${step} loss ${loss} b/B ${figure} ${rate}/s ${left} ${busiest} ${idlest}`,
  };
}

function fitted(words: ProgressWords, width: number): string {
  return words.full.length <= width ? words.full : words.short.slice(0, Math.max(0, width));
}

/** The busiest and the idlest expert of all layers, as layer.expert and multiple of an even share. */
function extremes(load: readonly (readonly number[])[]): { busiest: string; idlest: string } {
  const all = load.flatMap((layer, index) => {
    const { shares } = loadStatistics(layer);
    return shares.map((share, expert) => ({
      name: `${index}.${expert}`,
      multiple: share * shares.length,
    }));
  });
  const sorted = all.sort((a, b) => b.multiple - a.multiple);
  const words = (found: (typeof sorted)[number] | undefined): string =>
    found === undefined ? "none" : `${found.name} ${times(found.multiple)}`;
  return { busiest: words(sorted[0]), idlest: words(sorted.at(-1)) };
}

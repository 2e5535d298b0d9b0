import { bits, duration, size, times } from "./format.ts";
import { loadStatistics } from "./loads.ts";
import type { ModelName, StepRecord } from "./result.ts";

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
  /** Takes the record of one model's step; the line is shown when both models are done with it. */
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
    const dense = latest.get("dense");
    if (sparse === undefined || dense === undefined || sparse.step !== dense.step) return;
    if (sparse.step === shownStep) return;
    shownAt = range.now();
    shownStep = sparse.step;
    const words = progressWords(sparse, dense, range, (shownAt - started) / 1000);
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

/** The progress line after one step of both models; each pair is sparse/dense. */
export interface ProgressWords {
  readonly full: string;
  /** The same for a narrow terminal. */
  readonly short: string;
}

/**
 * Puts a step of both models into words.
 *
 * @param seconds time since this part of the run began.
 */
function progressWords(
  sparse: StepRecord,
  dense: StepRecord,
  range: ProgressRange,
  seconds: number,
): ProgressWords {
  const here = sparse.step - range.done;
  const left = duration(here > 0 ? (seconds / here) * (range.last - sparse.step) : 0);
  // Tokens of both models over the time of both.
  const rate = size(2 / (1 / sparse.tokensPerSecond + 1 / dense.tokensPerSecond));
  const step = `${sparse.step}/${range.steps}`;
  const loss = `${sparse.loss.toFixed(3)}/${dense.loss.toFixed(3)}`;
  const figure = `${bits(sparse.bitsPerByte)}/${bits(dense.bitsPerByte)}`;
  const { busiest, idlest } = extremes(sparse.load);
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

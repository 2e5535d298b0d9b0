import { bits, duration, size, times } from "./format.ts";
import { loadStatistics } from "./loads.ts";
import type { StepRecord } from "./result.ts";

/** An expert and what it takes, as a multiple of an even share. */
export interface ExpertLoad {
  readonly layer: number;
  readonly expert: number;
  readonly multiple: number;
}

/** `4 1.9x`. */
export function expertWords({ expert, multiple }: ExpertLoad): string {
  return `${expert} ${times(multiple)}`;
}

/** The busiest and the idlest expert of some layers. */
export function extremes(load: readonly (readonly number[])[]): {
  readonly busiest: ExpertLoad;
  readonly idlest: ExpertLoad;
} {
  const all = load.flatMap((counts, layer) =>
    loadStatistics(counts).shares.map((share, expert) => ({
      layer,
      expert,
      multiple: share * counts.length,
    })),
  );
  return {
    busiest: all.reduce((best, next) => (next.multiple > best.multiple ? next : best)),
    idlest: all.reduce((best, next) => (next.multiple < best.multiple ? next : best)),
  };
}

/** How far a run is. */
export interface Pace {
  readonly step: number;
  readonly steps: number;
  /** Of all models, over the time of all. */
  readonly tokensPerSecond: number;
  /** Seconds to go. */
  readonly left: number;
}

/** `step 312/1200  15.2 k tokens/s  6:40 left`. */
export function paceWords({ step, steps, tokensPerSecond, left }: Pace): string {
  return `step ${step}/${steps}  ${size(tokensPerSecond)} tokens/s  ${duration(left)} left`;
}

/** A step of all models on one line, and the same for a narrow terminal. */
export interface StepWords {
  readonly full: string;
  readonly short: string;
}

/** Puts a step of all models into words; figures are in the order of the records. */
export function stepWords(
  records: readonly StepRecord[],
  load: StepRecord["load"],
  { step, steps, tokensPerSecond, left }: Pace,
): StepWords {
  const loss = records.map((record) => record.loss.toFixed(3)).join("/");
  const figure = records.map(({ bitsPerByte }) => bits(bitsPerByte)).join("/");
  const [rate, time] = [size(tokensPerSecond), duration(left)];
  const { busiest, idlest } = extremes(load);
  const named = (found: ExpertLoad): string => `${found.layer}.${expertWords(found)}`;
  return {
    full:
      `step ${step}/${steps}  loss ${loss}  bits/byte ${figure}  ${rate} tokens/s  ${time} left  ` +
      `busiest expert ${named(busiest)}, idlest ${named(idlest)}`,
    short:
      `${step}/${steps} loss ${loss} b/B ${figure} ${rate}/s ${time} ` +
      `${named(busiest)} ${named(idlest)}`,
  };
}

import { mean } from "./statistics.ts";

/** Bars of one to eight eighths of a line. */
const eighths = "▁▂▃▄▅▆▇█";
/** What is drawn for nothing at all. */
const nothing = "·";

/** The ends of a scale. */
export interface Scale {
  readonly low: number;
  readonly high: number;
}

/** Averages neighbours, so that a curve has at most so many points; the last one is in the last. */
export function condense(values: readonly number[], width: number): readonly number[] {
  const count = Math.min(values.length, width);
  return Array.from({ length: count }, (_, place) =>
    mean(
      values.slice(
        Math.floor((place * values.length) / count),
        Math.floor(((place + 1) * values.length) / count),
      ),
    ),
  );
}

/** The scale that holds all of some curves. */
export function scaleOf(curves: readonly (readonly number[])[]): Scale {
  const all = curves.flat();
  return { low: Math.min(...all), high: Math.max(...all) };
}

/** A curve as bars, a character for each point. */
export function curveBars(values: readonly number[], { low, high }: Scale): string {
  const bar = (value: number): string => {
    const height = high > low ? (value - low) / (high - low) : 0;
    return eighths[Math.round(height * (eighths.length - 1))] ?? nothing;
  };
  return values.map(bar).join("");
}

/** What an expert takes, as bars: half a line is an even share, from two of them on it is full. */
export function loadBars(shares: readonly number[]): string {
  const even = eighths.length / 2;
  const bar = (share: number): string => {
    if (share === 0) return nothing;
    const height = Math.round(share * shares.length * even);
    return eighths[Math.min(Math.max(height, 1), eighths.length) - 1] ?? nothing;
  };
  return shares.map(bar).join("");
}

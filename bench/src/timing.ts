import { setTimeout } from "node:timers/promises";

/** Somebody whose runs are timed. */
export interface Contestant {
  /** One whole run, awaited; what it gives is handed to `check`. */
  run(): Promise<Float32Array | undefined>;
  /** Whether an output is right. Wrong runs are counted, and not timed. */
  readonly check?: ((output: Float32Array) => boolean) | undefined;
}

/** What was found of one contestant. */
export interface Timing {
  /** Median of the right runs, in milliseconds. */
  readonly median: number;
  /** How many runs were timed. */
  readonly samples: number;
  /** How many there were, warm-up included. */
  readonly runs: number;
  /** How many of these were wrong. */
  readonly wrong: number;
}

/** How long is measured. */
export interface Patience {
  /** Runs that are timed, unless they take too long. */
  readonly samples: number;
  /** Milliseconds after which fewer have to do, of one contestant. */
  readonly limit: number;
}

/** Quick runs are timed up to so many times as often, within so many milliseconds. */
const MORE = { factor: 5, limit: 2000 } as const;
/** Runs before the timed ones: the first compiles, the second fills pools. */
const WARM_UPS = 2;
/** Milliseconds before a turn, in which threads of the contestant before, which look for work, give up. */
const REST = 30;
/** Milliseconds of runs that are not timed in a turn, at least one: machines are slow to share work out. */
const LEAD_IN = 20;
/** Milliseconds of runs that are so long that what goes before them does not matter. */
const LONG = 1000;
/** So many runs are timed however long they take. */
const FEWEST = 3;

/**
 * Times contestants in turn, in one order and then in the other, so that whatever else the machine
 * does strikes all alike. A turn is a rest and a few runs, of which the last is timed: before,
 * threads wake up, and caches lose what another contestant left there.
 */
export async function race(
  contestants: readonly Contestant[],
  { samples, limit }: Patience,
): Promise<Timing[]> {
  const entries: Entry[] = contestants.map((contestant) => ({
    contestant,
    times: [],
    runs: 0,
    wrong: 0,
    rounds: samples,
    leadsIn: false,
  }));
  for (let round = -WARM_UPS; entries.some(({ rounds }) => round < rounds); round++) {
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      if (round >= entry.rounds) continue;
      const { contestant } = entry;
      if (entry.leadsIn) {
        // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
        entry.runs += await leadIn(contestant);
      }
      // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
      const { time, right } = await timeOf(contestant);
      entry.runs++;
      if (!right) entry.wrong++;
      else if (round >= 0) entry.times.push(time);
      if (round !== -1) continue;
      entry.leadsIn = entries.length > 1 && time < LONG;
      entry.rounds = roundsFor(entry.leadsIn ? 2 * time : time, { samples, limit });
      // Where runs are few, the second warm-up has to count as one.
      if (right && entry.rounds < samples) {
        entry.times.push(time);
        entry.rounds--;
      }
    }
  }
  return entries.map(({ times, runs, wrong }) => ({
    median: median(times),
    samples: times.length,
    runs,
    wrong,
  }));
}

interface Entry {
  readonly contestant: Contestant;
  readonly times: number[];
  runs: number;
  wrong: number;
  rounds: number;
  /** Whether a turn begins with a rest and runs that are not timed. */
  leadsIn: boolean;
}

/** How often a run that takes so long is timed. */
function roundsFor(time: number, { samples, limit }: Patience): number {
  const quick = Math.min(samples * MORE.factor, Math.floor(Math.min(MORE.limit, limit) / time));
  if (quick > samples) return quick;
  return Math.min(samples, Math.max(FEWEST, Math.floor(limit / time)));
}

/** The beginning of a turn. How many runs it had. */
async function leadIn({ run }: Contestant): Promise<number> {
  await setTimeout(REST);
  const start = performance.now();
  let runs = 0;
  while (runs === 0 || performance.now() - start < LEAD_IN) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    await run();
    runs++;
  }
  return runs;
}

async function timeOf({ run, check }: Contestant): Promise<{ time: number; right: boolean }> {
  const start = performance.now();
  const output = await run();
  const time = performance.now() - start;
  return { time, right: check === undefined || (output !== undefined && check(output)) };
}

/** The middle one; the mean of two where there is none. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = Number.NaN, high = Number.NaN] = sorted.slice(middle - 1 + (sorted.length % 2));
  return sorted.length % 2 === 1 ? low : (low + high) / 2;
}

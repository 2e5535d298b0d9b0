import { type ConfigError, type RandomKey, hostUniform } from "@moiety/core";
import { refuseOption, requireWhole } from "./option.ts";

/**
 * How a fixed table gives each token id its experts: `random` (k distinct ones, evenly drawn),
 * `balanced` (drawn among the least loaded, the most frequent ids first), `modulo` (the experts
 * `id + j · ⌊E/k⌋ mod E`), or the rows themselves, `[V][k]`, `E` for no expert.
 */
export type ExpertTable = "random" | "balanced" | "modulo" | readonly (readonly number[])[];

/** What a table is made of. */
export interface ExpertTableOptions {
  readonly table: ExpertTable;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** E. */
  readonly experts: number;
  /** k. */
  readonly topK: number;
  /** How often each id occurs, `[V]`, for `balanced`. All as often unless given. */
  readonly frequencies?: readonly number[] | undefined;
}

/** Refuses a table that makes no sense, naming the key. @throws ConfigError */
export function checkExpertTable(options: ExpertTableOptions): void {
  const { table, vocabSize, frequencies } = options;
  requireWhole("vocabSize", vocabSize);
  if (typeof table === "string") {
    if (!["random", "balanced", "modulo"].includes(table)) {
      throw refuseOption("table", table, "random, balanced, modulo, or rows of expert numbers");
    }
  } else {
    checkRows(table, options);
  }
  if (frequencies) checkFrequencies(frequencies, options);
}

/** The table `[V · k]`, drawn on the host. */
export function makeExpertTable(options: ExpertTableOptions, key: RandomKey): Int32Array {
  const { table, vocabSize, experts, topK } = options;
  switch (table) {
    case "random":
      return randomTable(options, key);
    case "balanced":
      return balancedTable(options, key);
    case "modulo": {
      const stride = Math.floor(experts / topK);
      return Int32Array.from(
        { length: vocabSize * topK },
        (_, at) => (Math.floor(at / topK) + (at % topK) * stride) % experts,
      );
    }
    default:
      return Int32Array.from(table.flat());
  }
}

/** k distinct experts for each id: the first k of a shuffle. */
function randomTable({ vocabSize, experts, topK }: ExpertTableOptions, key: RandomKey): Int32Array {
  const draws = hostUniform(key, vocabSize * topK);
  const deck = Int32Array.from({ length: experts }, (_, expert) => expert);
  return draws.reduce(
    (rows, draw, at) => {
      const choice = at % topK;
      const other = choice + Math.floor(draw * (experts - choice));
      const picked = deck[other] as number;
      deck[other] = deck[choice] as number;
      deck[choice] = picked;
      rows[at] = picked;
      return rows;
    },
    new Int32Array(vocabSize * topK),
  );
}

/** Greedily: ids by falling frequency, each choice to one of the least loaded experts. */
function balancedTable(options: ExpertTableOptions, key: RandomKey): Int32Array {
  const { vocabSize, experts, topK, frequencies } = options;
  const draws = hostUniform(key, vocabSize * topK);
  const frequency = (id: number): number => frequencies?.[id] ?? 1;
  const ids = Array.from({ length: vocabSize }, (_, id) => id);
  // Stable, so that ids of one frequency stay in order; the draws mix them.
  ids.sort((a, b) => frequency(b) - frequency(a));
  const loads = new Float64Array(experts);
  const rows = new Int32Array(vocabSize * topK);
  const takenBy = new Int32Array(experts).fill(-1);
  for (const id of ids) {
    for (let choice = 0; choice < topK; choice++) {
      const at = id * topK + choice;
      const start = Math.floor((draws[at] as number) * experts);
      const picked = leastLoaded(loads, takenBy, id, start);
      takenBy[picked] = id;
      rows[at] = picked;
      loads[picked] = (loads[picked] as number) + frequency(id);
    }
  }
  return rows;
}

/** The first least loaded expert from `start` on that the id has not got yet. */
function leastLoaded(loads: Float64Array, takenBy: Int32Array, id: number, start: number): number {
  let best = -1;
  for (let step = 0; step < loads.length; step++) {
    const expert = (start + step) % loads.length;
    if (takenBy[expert] === id) continue;
    if (best < 0 || (loads[expert] as number) < (loads[best] as number)) best = expert;
  }
  return best;
}

function checkRows(
  rows: readonly (readonly number[])[],
  { vocabSize, experts, topK }: ExpertTableOptions,
): void {
  if (rows.length !== vocabSize) {
    throw refuseOption("table.length", rows.length, `${vocabSize}, a row for each token id`);
  }
  for (const [id, row] of rows.entries()) {
    const refuse = (value: unknown, wanted: string): ConfigError =>
      refuseOption(`table[${id}]`, value, wanted);
    if (row.length !== topK) throw refuse(`[${row.join(", ")}]`, `a list of ${topK} experts`);
    const chosen = row.filter((expert) => expert !== experts);
    const known = chosen.every(
      (expert) => Number.isInteger(expert) && expert >= 0 && expert < experts,
    );
    if (!known) throw refuse(`[${row.join(", ")}]`, `experts from 0 to ${experts} (no expert)`);
    if (new Set(chosen).size < chosen.length) {
      throw refuse(`[${row.join(", ")}]`, "experts that differ from one another");
    }
  }
}

function checkFrequencies(
  frequencies: readonly number[],
  { table, vocabSize }: ExpertTableOptions,
): void {
  if (table !== "balanced") {
    throw refuseOption("frequencies", "given", 'absent, unless the table is "balanced"');
  }
  if (frequencies.length !== vocabSize) {
    throw refuseOption("frequencies.length", frequencies.length, `${vocabSize}, one for each id`);
  }
  const bad = frequencies.find((value) => !(value >= 0 && Number.isFinite(value)));
  if (bad !== undefined) throw refuseOption("frequencies", bad, "finite numbers from 0");
}

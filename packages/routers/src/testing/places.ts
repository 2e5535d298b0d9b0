/** Choices `[T][k]`; the number of experts stands for none. */
export type Choices = readonly (readonly number[])[];

/** Who asks for places, and where. */
export interface Queue {
  readonly experts: number;
  /** Places of an expert in a group of so many tokens. */
  readonly places: (tokens: number) => number;
  /** Offsets of the groups in T. */
  readonly groups: readonly number[];
  /** Whether all first choices ask before all second ones. */
  readonly choiceFirst: boolean;
  /** Tokens that ask earlier have larger ranks; by position unless given. */
  readonly rank?: ((token: number) => number) | undefined;
  readonly mask?: readonly boolean[] | undefined;
}

/** Gives places to choices by plain loops: those that find none become the number of experts. */
export function placeByLoops(choices: Choices, queue: Queue): number[][] {
  const { experts, places, groups, choiceFirst, rank, mask } = queue;
  const placed = choices.map((row) => row.map(() => experts));
  for (let group = 0; group + 1 < groups.length; group++) {
    const [start = 0, end = 0] = groups.slice(group);
    const tokens = Array.from({ length: end - start }, (_, at) => start + at);
    if (rank) tokens.sort((a, b) => rank(b) - rank(a) || a - b);
    const free = new Array<number>(experts).fill(places(end - start));
    const ask = (token: number, choice: number): void => {
      const expert = choices[token]?.[choice] ?? experts;
      const row = placed[token];
      if (expert === experts || !row || mask?.[token] === false) return;
      if ((free[expert] ?? 0) <= 0) return;
      free[expert] = (free[expert] ?? 0) - 1;
      row[choice] = expert;
    };
    const k = choices[0]?.length ?? 0;
    if (choiceFirst) {
      for (let choice = 0; choice < k; choice++) for (const token of tokens) ask(token, choice);
    } else {
      for (const token of tokens) for (let choice = 0; choice < k; choice++) ask(token, choice);
    }
  }
  return placed;
}

/** Weights of choices that found a place; 0 elsewhere. */
export function survivors(weights: Choices, placed: Choices, experts: number): number[][] {
  return weights.map((row, token) =>
    row.map((weight, choice) => (placed[token]?.[choice] === experts ? 0 : weight)),
  );
}

/** Rows divided by the larger of their sum and ε. */
export function shared(weights: Choices, epsilon: number = Number.EPSILON): number[][] {
  return weights.map((row) => {
    const total = Math.max(
      row.reduce((a, b) => a + b, 0),
      epsilon,
    );
    return row.map((weight) => weight / total);
  });
}

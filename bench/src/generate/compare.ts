import { rounded } from "../rows.ts";
import type { Continuer } from "./ours.ts";

/** How far two are apart. */
export interface Comparison {
  /** The largest difference of a logarithm of a probability. */
  readonly error: number;
  /** Mean Kullback–Leibler divergence of theirs from ours, in nats. */
  readonly kl: number;
  /** Of the places compared, the share at which both find the same token likeliest. */
  readonly sameTop: number;
  /** How many of the tokens that follow the prompt are the same in both, before the first that is not. */
  readonly sameTokens: number;
}

/** Tokens that a prompt is continued by, to be compared. */
export const CONTINUED = 8;

/** Holds a model of one against that of another, on a prompt and what both continue it by. */
export async function compare(
  ours: Continuer,
  theirs: Continuer,
  prompt: readonly number[],
): Promise<Comparison> {
  const [found, wanted] = [
    await ours.logProbabilities(prompt),
    await theirs.logProbabilities(prompt),
  ];
  const places = found.map((values, place) => apart(values, wanted[place] ?? new Float64Array()));
  const [a, b] = [await continued(ours, prompt), await continued(theirs, prompt)];
  const first = a.findIndex((token, place) => token !== b[place]);
  const mean = (of: (place: Apart) => number): number =>
    rounded(places.reduce((total, place) => total + of(place), 0) / places.length);
  return {
    error: rounded(Math.max(...places.map(({ error }) => error))),
    kl: mean(({ kl }) => kl),
    sameTop: mean(({ sameTop }) => (sameTop ? 1 : 0)),
    sameTokens: first < 0 ? a.length : first,
  };
}

interface Apart {
  readonly error: number;
  readonly kl: number;
  readonly sameTop: boolean;
}

/** How far two are apart at one place. NaN where either has no number. */
function apart(ours: Float64Array, theirs: Float64Array): Apart {
  const [most, others] = [likeliest(ours), likeliest(theirs)];
  let [error, kl] = ours.length === theirs.length ? [0, 0] : [Number.NaN, Number.NaN];
  for (const [token, value] of ours.entries()) {
    const difference = value - (theirs[token] ?? Number.NaN);
    // Unlike a comparison it keeps NaN.
    error = Math.max(error, Math.abs(difference));
    kl += Math.exp(value) * difference;
  }
  return { error, kl, sameTop: most === others };
}

async function continued(continuer: Continuer, prompt: readonly number[]): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of continuer.start(prompt, CONTINUED)) tokens.push(token);
  return tokens;
}

function likeliest(values: Float64Array): number {
  let best = 0;
  for (let token = 1; token < values.length; token++) {
    if ((values[token] ?? 0) > (values[best] ?? 0)) best = token;
  }
  return best;
}

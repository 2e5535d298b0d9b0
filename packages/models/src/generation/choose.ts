import { NumericError, type RandomKey, foldIn, hostUniform, randomKey } from "@moiety/core";
import { type SampleOptions, sampleIndex } from "../sample.ts";
import type { Step } from "./session.ts";

/** How many of the largest logits choosing needs; `undefined` for all of them. */
export function candidatesFor(
  { temperature = 0, topK }: SampleOptions,
  vocabSize: number,
): number | undefined {
  if (temperature === 0) return 1;
  return topK === undefined || topK >= vocabSize ? undefined : topK;
}

/** A key for each sequence of a batch, of which each step folds its own. */
export function sequenceKeys(seed: number, batch: number): readonly RandomKey[] {
  const key = randomKey(seed);
  return Array.from({ length: batch }, (_, sequence) => foldIn(key, sequence));
}

/**
 * Reads a step back and chooses a token for each sequence.
 * @param keys of the sequences; `undefined` for those that have ended
 * @throws NumericError where logits are not finite
 */
export async function chooseTokens(
  step: Step,
  count: number,
  keys: readonly (RandomKey | undefined)[],
  { temperature = 0, topP = 1 }: SampleOptions,
): Promise<(number | undefined)[]> {
  const [logits, tokens] = await Promise.all([step.logits.read(), step.tokens?.read()]);
  const width = logits.length / keys.length;
  return keys.map((key, sequence) => {
    if (key === undefined) return undefined;
    const start = sequence * width;
    const own = logits.subarray(start, start + width);
    const candidates = tokens?.subarray(start, start + width);
    if (Number.isNaN(own[0])) throw diverged();
    if (temperature === 0) return candidates?.[0];
    const uniform = hostUniform(foldIn(key, count), 1)[0] ?? 0;
    return draw(own, candidates, (values) => sampleIndex(values, temperature, uniform, topP));
  });
}

/** Draws in the order of tokens, so that it makes no difference whether the device sorted them. */
function draw(
  logits: ArrayLike<number>,
  candidates: ArrayLike<number> | undefined,
  index: (logits: ArrayLike<number>) => number,
): number | undefined {
  if (candidates === undefined) return index(logits);
  const order = Array.from(candidates, (token, at) => ({ token, logit: logits[at] ?? Number.NaN }));
  order.sort((a, b) => a.token - b.token);
  return order[index(order.map(({ logit }) => logit))]?.token;
}

function diverged(): NumericError {
  return new NumericError("the logits of the next token are NaN; the model has diverged");
}

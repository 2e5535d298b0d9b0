import type { DecoderModel } from "./decoder/decoder.ts";
import type { DecoderParams, DecoderState } from "./decoder/params.ts";
import { continuation } from "./generation/continuation.ts";
import { type GenerateOptions, checkGeneration } from "./generation/options.ts";

/**
 * Continues a sequence token by token, with a key-value cache on the device. Banks that must wait
 * for their experts are waited for. Whichever way it ends, everything that it made is freed.
 *
 * Given a list of prompts, it continues them side by side, whatever their lengths, and each step is a
 * list: of each sequence its token, or `undefined` once the sequence has ended. Shorter prompts are
 * padded on the left, under a mask. A sequence then has the tokens that it has alone, but for
 * rounding, unless the model's routers look across tokens.
 * @throws ConfigError for an empty prompt, tokens outside the vocabulary, or options that make no
 * sense; the reason of `signal`, between steps
 *
 * @example
 * for await (const token of generate(model, params, state, [1, 2, 3], { maxNewTokens: 8 })) {
 *   console.log(token);
 * }
 */
export function generate(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  ids: ArrayLike<number>,
  options: GenerateOptions,
): AsyncGenerator<number, void, undefined>;
export function generate(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, undefined>;
export function generate(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  ids: ArrayLike<number> | readonly ArrayLike<number>[],
  options: GenerateOptions,
): AsyncGenerator<number | (number | undefined)[], void, undefined> {
  const { config } = model;
  if (isList(ids)) {
    const prompts = ids.map((prompt) => Array.from(prompt));
    const named = prompts.map((prompt, index) => [`ids[${index}]`, prompt] as const);
    checkGeneration(config, named, options);
    return continuation(model, params, state, prompts, options);
  }
  const prompt = Array.from(ids);
  checkGeneration(config, [["ids", prompt]], options);
  return only(continuation(model, params, state, [prompt], options));
}

function isList(
  ids: ArrayLike<number> | readonly ArrayLike<number>[],
): ids is readonly ArrayLike<number>[] {
  return Array.isArray(ids) && typeof ids[0] === "object";
}

/** The tokens of the only sequence. */
async function* only(
  steps: AsyncGenerator<(number | undefined)[], void, undefined>,
): AsyncGenerator<number, void, undefined> {
  for await (const [token] of steps) if (token !== undefined) yield token;
}

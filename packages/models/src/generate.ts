import {
  type Backend,
  ConfigError,
  type Forward,
  type Module,
  NumericError,
  type Tensor,
  applyAsync,
  foldIn,
  hostUniform,
  isFloat,
  randomKey,
  topK,
} from "@moiety/core";
import { type KeyValueCache, disposeCache, donateCache, emptyCache } from "./decoder/cache.ts";
import type { DecoderModel } from "./decoder/decoder.ts";
import type { DecoderParams, DecoderState } from "./decoder/params.ts";
import { type SampleOptions, checkSampling, sampleIndex } from "./sample.ts";

/** Options of {@link generate}. */
export interface GenerateOptions extends SampleOptions {
  readonly maxNewTokens: number;
  /** Seed of the draws, where the temperature is above 0. 0 unless given. */
  readonly seed?: number | undefined;
  /** Ends after one of these tokens, which is still given. None unless given. */
  readonly stop?: readonly number[] | undefined;
}

interface Step {
  /** `[1, 1, k]` the largest logits. */
  readonly values: Tensor;
  /** `[1, 1, k]` i32 their tokens. */
  readonly indices: Tensor;
  readonly cache: KeyValueCache;
}

type StepModule = Module<
  DecoderParams,
  DecoderState,
  [ids: Tensor, cache: KeyValueCache, candidates: number],
  Step
>;

/**
 * Continues a sequence token by token, with a key-value cache. Banks that must wait for their
 * experts are waited for.
 * @throws ConfigError for an empty prompt, tokens outside the vocabulary, or options that make no
 * sense
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
): AsyncGenerator<number, void, undefined> {
  const { vocabSize } = model.config;
  const { maxNewTokens, stop = [] } = options;
  checkSampling(options);
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 0) {
    throw new ConfigError(
      `maxNewTokens is ${maxNewTokens}, but must be a whole number from 0`,
      "maxNewTokens",
      maxNewTokens,
    );
  }
  if (ids.length === 0) throw new ConfigError("the prompt is empty; give a token", "ids", ids);
  requireTokens("ids", Array.from(ids), vocabSize);
  requireTokens("stop", stop, vocabSize);
  randomKey(options.seed ?? 0);
  return run(model, params, state, Int32Array.from(ids), options);
}

function requireTokens(key: string, tokens: readonly number[], vocabSize: number): void {
  for (const token of tokens) {
    if (Number.isInteger(token) && token >= 0 && token < vocabSize) continue;
    throw new ConfigError(
      `${key}: token ${token} is outside the vocabulary; give 0…${vocabSize - 1}`,
      key,
      token,
    );
  }
}

async function* run(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  prompt: Int32Array,
  options: GenerateOptions,
): AsyncGenerator<number, void, undefined> {
  const { maxNewTokens, temperature = 0, topK: most, seed = 0, stop = [] } = options;
  const { vocabSize } = model.config;
  const { backend, dtype } = params.embedding;
  const candidates = temperature === 0 ? 1 : Math.min(most ?? vocabSize, vocabSize);
  const module = stepModule(model);
  const key = randomKey(seed);
  if (maxNewTokens === 0) return;
  let cache = emptyCache(model.config, {
    backend,
    capacity: prompt.length + maxNewTokens - 1,
    dtype: isFloat(dtype) ? dtype : "f32",
  });
  try {
    let input = prompt;
    for (let count = 0; count < maxNewTokens; count++) {
      cache = donateCache(cache);
      const step = await runStep(module, params, state, backend, input, cache, candidates);
      ({ cache } = step);
      const uniform = hostUniform(foldIn(key, count), 1)[0] ?? 0;
      const token = await choose(step, temperature, uniform);
      yield token;
      if (stop.includes(token)) return;
      input = Int32Array.of(token);
    }
  } finally {
    disposeCache(cache);
  }
}

async function runStep(
  module: StepModule,
  params: DecoderParams,
  state: DecoderState,
  backend: Backend,
  input: Int32Array,
  cache: KeyValueCache,
  candidates: number,
): Promise<Step> {
  const ids = backend.tensor(input, { shape: [1, input.length] });
  try {
    return await applyAsync(module, params, state, ids, cache, candidates);
  } finally {
    ids.dispose();
  }
}

function stepModule(model: DecoderModel): StepModule {
  return {
    init: model.init,
    *forward(params, state, ids, cache, candidates): Forward<Step> {
      const output = yield* model.forward(params, state, ids, { cache, lastOnly: true });
      const [values, indices] = topK(output.logits, undefined, { k: candidates });
      return { values, indices, cache: output.cache ?? cache };
    },
  };
}

async function choose(
  { values, indices }: Step,
  temperature: number,
  uniform: number,
): Promise<number> {
  const [logits, tokens] = await Promise.all([values.read(), indices.read()]);
  values.dispose();
  indices.dispose();
  if (Number.isNaN(logits[0])) {
    throw new NumericError("the logits of the next token are NaN; the model has diverged");
  }
  return tokens[temperature === 0 ? 0 : sampleIndex(logits, temperature, uniform)] ?? 0;
}

import type { AbortLike } from "@moiety/checkpoints";
import { ConfigError, randomKey } from "@moiety/core";
import type { DecoderConfig } from "../decoder/config.ts";
import { decoderRouter } from "../decoder/router.ts";
import { type SampleOptions, checkSampling } from "../sample.ts";
import type { RoutedToken } from "../trace/routed-token.ts";

/** Options of `generate`. */
export interface GenerateOptions extends SampleOptions {
  /** The most tokens that a sequence is continued by. */
  readonly maxNewTokens: number;
  /**
   * Seed of the draws, where the temperature is above 0. 0 unless given. A sequence's draws depend on
   * the seed, its number in the batch and the step alone; one prompt draws as the first of a batch.
   */
  readonly seed?: number | undefined;
  /** A sequence ends after one of these tokens, which is still given. None unless given. */
  readonly stop?: readonly number[] | undefined;
  /** When it is aborted, no further step begins, and its reason is thrown. */
  readonly signal?: AbortLike | undefined;
  /**
   * The most tokens of a prompt that go through the model at once. {@link DEFAULT_PREFILL_CHUNK}
   * unless given; with routers that look across tokens the whole prompt, which may not be cut then.
   */
  readonly prefillChunk?: number | undefined;
  /**
   * The most tokens that the cache holds for each sequence. The longest prompt and what may follow it
   * unless given; the same capacity for many calls lets a backend use the same kernels.
   */
  readonly capacity?: number | undefined;
  /**
   * Is told of each token that went through the model, prompt included, where it went; of a batch in
   * the order of steps, then of sequences. Routings are read back from the device only for this.
   */
  readonly onRouted?: ((token: RoutedToken) => void) | undefined;
}

/**
 * Tokens of a prompt that go through the model at once: enough that each expert's weights serve many
 * tokens, few enough that what lies between layers stays small.
 */
export const DEFAULT_PREFILL_CHUNK = 512;

/**
 * Throws {@link ConfigError} for options or prompts that make no sense.
 * @param prompts each with its name for errors
 */
export function checkGeneration(
  config: DecoderConfig,
  prompts: readonly (readonly [key: string, ids: readonly number[]])[],
  options: GenerateOptions,
): void {
  const { maxNewTokens, prefillChunk, capacity, stop = [], seed = 0 } = options;
  checkSampling(options);
  requireCount("maxNewTokens", maxNewTokens, 0);
  if (prefillChunk !== undefined) requireCount("prefillChunk", prefillChunk, 1);
  for (const [key, ids] of prompts) {
    if (ids.length === 0) throw new ConfigError("the prompt is empty; give a token", key, ids);
    requireTokens(key, ids, config.vocabSize);
  }
  requireTokens("stop", stop, config.vocabSize);
  randomKey(seed);
  const longest = Math.max(...prompts.map(([, ids]) => ids.length));
  if (capacity !== undefined) requireCapacity(capacity, capacityFor(longest, maxNewTokens));
  if (prefillChunk !== undefined && prefillChunk < longest && routesAcrossTokens(config)) {
    throw new ConfigError(
      "this model's routers look across tokens, so that its prompt may not be cut; leave " +
        "prefillChunk out",
      "prefillChunk",
      prefillChunk,
    );
  }
}

/** Tokens of each sequence that pass through the model: the last new one does not. */
export function capacityFor(longestPrompt: number, maxNewTokens: number): number {
  return longestPrompt + Math.max(0, maxNewTokens - 1);
}

/** How many tokens of the longest prompt go through the model at once. */
export function chunkOf(
  config: DecoderConfig,
  longestPrompt: number,
  prefillChunk: number | undefined,
): number {
  const wanted =
    prefillChunk ?? (routesAcrossTokens(config) ? longestPrompt : DEFAULT_PREFILL_CHUNK);
  return Math.min(wanted, longestPrompt);
}

function routesAcrossTokens(config: DecoderConfig): boolean {
  return config.layers.some(
    (layer) => "moe" in layer && decoderRouter(layer.moe.router, config).acrossTokens,
  );
}

function requireCount(key: string, count: number, least: number): void {
  if (Number.isSafeInteger(count) && count >= least) return;
  throw new ConfigError(`${key} is ${count}, but must be a whole number from ${least}`, key, count);
}

function requireCapacity(capacity: number, needed: number): void {
  requireCount("capacity", capacity, 1);
  if (capacity >= needed) return;
  throw new ConfigError(
    `capacity is ${capacity}, but the longest prompt and maxNewTokens need ${needed}`,
    "capacity",
    capacity,
  );
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

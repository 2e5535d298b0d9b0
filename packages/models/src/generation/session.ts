import { type Forward, type Module, type Tensor, applyAsync, isFloat, topK } from "@moiety/core";
import { type KeyValueCache, disposeCache, donateCache, emptyCache } from "../decoder/cache.ts";
import type { DecoderContext, DecoderModel } from "../decoder/decoder.ts";
import type { DecoderParams, DecoderState } from "../decoder/params.ts";
import { type TracedRouting, tracedRouting } from "../trace/routing-table.ts";
import type { TokenColumns } from "./batch.ts";

/** What a {@link Session} runs. */
export interface SessionOptions {
  readonly model: DecoderModel;
  readonly params: DecoderParams;
  readonly state: DecoderState;
  readonly batch: number;
  /** The most tokens of a sequence. */
  readonly capacity: number;
  /** How many of the largest logits a step gives; all of them, unsorted, unless given. */
  readonly candidates: number | undefined;
  /** Whether a step gives its routings. */
  readonly routed: boolean;
}

/** What a call of the model gives of its last column. Whoever asked for it frees it. */
export interface Step {
  /** `[B, 1, V]`, or the largest `[B, 1, k]`, largest first. */
  readonly logits: Tensor;
  /** `[B, 1, k]` i32: the tokens of the largest logits. */
  readonly tokens?: Tensor | undefined;
  readonly routings: readonly TracedRouting[];
}

interface CachedStep extends Step {
  readonly cache: KeyValueCache;
}

type StepModule = Module<
  DecoderParams,
  DecoderState,
  [ids: Tensor, context: DecoderContext & { readonly cache: KeyValueCache }],
  CachedStep
>;

/** A model that reads tokens column by column and remembers them in a cache on the device. */
export class Session {
  readonly #options: SessionOptions;
  readonly #module: StepModule;
  #cache: KeyValueCache;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#module = stepModule(options);
    this.#cache = emptyCacheFor(options);
  }

  /** Tokens of each sequence so far, padding included. */
  get length(): number {
    return this.#cache.length;
  }

  /** Forgets all tokens. */
  restart(): void {
    this.dispose();
    this.#cache = emptyCacheFor(this.#options);
  }

  /**
   * Runs the model on the next tokens. Banks that must wait for their experts are waited for.
   * @param length of a prompt of which these are a part
   */
  async advance({ ids, mask, batch, count }: TokenColumns, length?: number): Promise<Step> {
    const { params, state } = this.#options;
    const { backend } = params.norm;
    const shape = [batch, count];
    const idTensor = backend.tensor(ids, { shape });
    const maskTensor = mask && backend.tensor(mask, { shape, dtype: "bool" });
    this.#cache = donateCache(this.#cache);
    const context = {
      cache: this.#cache,
      mask: maskTensor,
      length,
      lastOnly: true,
      losses: false,
      routed: this.#options.routed,
    };
    try {
      const step = await applyAsync(this.#module, params, state, idTensor, context);
      this.#cache = step.cache;
      return step;
    } finally {
      idTensor.dispose();
      maskTensor?.dispose();
    }
  }

  /** Frees the cache. */
  dispose(): void {
    disposeCache(this.#cache);
  }
}

/** Frees what a step gave. */
export function disposeStep({ logits, tokens, routings }: Step): void {
  logits.dispose();
  tokens?.dispose();
  for (const { kind: _, ...leaves } of routings) {
    for (const leaf of Object.values(leaves)) if (typeof leaf === "object") leaf.dispose();
  }
}

function emptyCacheFor({ model, params, batch, capacity }: SessionOptions): KeyValueCache {
  const { backend, dtype } = params.norm;
  return emptyCache(model.config, {
    backend,
    batch,
    capacity,
    dtype: isFloat(dtype) ? dtype : "f32",
    masked: batch > 1,
  });
}

function stepModule({ model, candidates }: SessionOptions): StepModule {
  return {
    init: model.init,
    *forward(params, state, ids, context): Forward<CachedStep> {
      const output = yield* model.forward(params, state, ids, context);
      const cache = output.cache ?? context.cache;
      const routings = output.routings.map(tracedRouting);
      if (candidates === undefined) return { logits: output.logits, routings, cache };
      const [logits, tokens] = topK(output.logits, undefined, { k: candidates });
      return { logits, tokens, routings, cache };
    },
  };
}

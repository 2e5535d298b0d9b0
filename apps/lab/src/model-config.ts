import type { JsonObject } from "@moiety/checkpoints";
import { type ConfiguredModel, modelFromConfig } from "@moiety/models";
import { balanceOf } from "./balances.ts";
import { type ModelSettings, denseModel } from "./presets.ts";
import type { ModelName } from "./result.ts";
import { hashTwin, ownRouter } from "./routers.ts";
import { isOwnBalance } from "./routing-losses.ts";
import type { Settings } from "./settings.ts";

/** What decides the form of the models. */
export type FormSettings = Pick<Settings, "balance" | "model" | "router" | "training">;

/**
 * One of the models of a run: an OLMoE, the dense one with a single expert, the hashed one with a
 * table of bytes for a router. What an OLMoE's keys cannot say stands under `moiety`.
 */
export function modelOf(name: ModelName, settings: FormSettings): ConfiguredModel {
  const sizes = sizesOf(name, settings);
  const own = name === "sparse" && isOwnBalance(settings);
  const extension = extensionOf(name, settings);
  const values: JsonObject = {
    model_type: "olmoe",
    vocab_size: sizes.vocabSize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.numHiddenLayers,
    num_attention_heads: sizes.numAttentionHeads,
    num_key_value_heads: sizes.numKeyValueHeads,
    intermediate_size: sizes.intermediateSize,
    num_experts: sizes.numExperts,
    num_experts_per_tok: sizes.numExpertsPerTok,
    norm_topk_prob: sizes.normTopkProb,
    rms_norm_eps: sizes.rmsNormEps,
    rope_theta: sizes.ropeTheta,
    tie_word_embeddings: sizes.tieWordEmbeddings,
    initializer_range: sizes.initializerRange,
    max_position_embeddings: settings.training.sequenceLength,
    router_aux_loss_coef: own ? sizes.routerAuxLossCoef : 0,
    ...(extension && { moiety: extension }),
  };
  return modelFromConfig(values);
}

/** The sizes of one of the models. */
export function sizesOf(name: ModelName, { model }: Pick<Settings, "model">): ModelSettings {
  return name === "dense" ? denseModel(model) : model;
}

function extensionOf(name: ModelName, { router, balance }: FormSettings): JsonObject | undefined {
  if (name === "dense") return undefined;
  if (name === "hash") return { router: hashTwin };
  // Its losses are the experiment's: OLMoE's own is not for routings of every kind.
  if (ownRouter(router) === undefined) return { router, losses: [] };
  return balanceOf(balance).control === undefined ? undefined : { selection_bias: true };
}

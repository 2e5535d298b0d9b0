import type {
  JsonDocument,
  JsonObject,
  RuleSizes,
  SafetensorsDtype,
  SafetensorsMetadata,
  TensorRule,
} from "@moiety/checkpoints";
import { type MapTree, type RouteSpec, type Shape, UnsupportedError } from "@moiety/core";
import { completeConfig, isDocument } from "./complete-config.ts";
import type { ConfigReader } from "./config-reader.ts";
import type { DecoderConfig, MoeConfig } from "./decoder/config.ts";
import { type DecoderModel, decoder } from "./decoder/decoder.ts";
import { type DecoderMoe, moePart } from "./decoder/moe-layer.ts";
import type { DecoderMoeParams, DecoderMoeState } from "./decoder/params.ts";
import { extend, readExtension } from "./extension.ts";
import { familyOf } from "./families/index.ts";
import { readerOf } from "./family-reader.ts";
import type { Family, FamilyDecoder, FamilyLoss } from "./family.ts";
import { requireBlocks } from "./quantize/leaves.ts";
import { quantizedDecoder, readQuantization } from "./quantize/quantization.ts";
import { blockRules } from "./rules.ts";
import { shapesByPath } from "./tree.ts";

/** A configuration and what it means. */
export interface ModelConfig {
  readonly family: Family;
  /** `config.json` as it was read, or as it is to be written. */
  readonly document: JsonDocument;
  /** `generation_config.json`. */
  readonly generation?: JsonDocument | undefined;
  readonly decoder: DecoderConfig;
  /** Of a loaded model: the metadata of its weights. */
  readonly metadata?: SafetensorsMetadata | undefined;
  /** Of a loaded model: the dtypes in which its tensors were stored, by name. */
  readonly stored?: ReadonlyMap<string, SafetensorsDtype> | undefined;
}

/** A model and its configuration. */
export interface ConfiguredModel {
  readonly model: DecoderModel;
  readonly config: ModelConfig;
}

/** The Mixture-of-Experts block of a family, ready to be filled. */
export interface ConfiguredBlock {
  readonly layer: DecoderMoe;
  /** E. */
  readonly experts: number;
  /** Its router's stages, where it is made of some. */
  readonly spec: RouteSpec | undefined;
  /** What the layer was built of. */
  readonly moe: MoeConfig;
  /** Width H. */
  readonly hiddenSize: number;
  /** Losses under the names of the family's code. */
  readonly losses: readonly FamilyLoss[];
  /** Where its leaves stand in the block's own state dict; state has paths `state.…`. */
  readonly rules: readonly TensorRule[];
  /** What the rules' placeholders stand for. */
  readonly sizes: RuleSizes;
  /** The shape of every leaf, parameters and state (below `state`). */
  readonly shapes: MapTree<DecoderMoeParams & { readonly state: DecoderMoeState }, Shape>;
}

/** Options of {@link blockFromConfig}. */
export interface BlockOptions {
  /** Whether tensors have the names of transformers 5 in memory. False: those of checkpoints. */
  readonly fused?: boolean | undefined;
}

/**
 * Builds a model of a `config.json`. A document is taken as it is; plain values make a new model,
 * whose configuration is completed (see {@link completeConfig}).
 * @throws ConfigError, UnsupportedError naming the key
 */
export function modelFromConfig(json: JsonDocument | JsonObject): ConfiguredModel {
  const { document, generation } = isDocument(json)
    ? { document: json, generation: undefined }
    : completeConfig(json);
  const { value } = document;
  const family = familyOf(value["model_type"]);
  const { decoder: parts } = family;
  if (!parts) {
    throw new UnsupportedError(
      `of ${family.modelType} only the block is built, not whole models`,
      `${family.modelType} models`,
    );
  }
  const { values, quantization } = readQuantization(value);
  const reader = readerOf(family, values);
  const extended = extend(readDecoder(family, parts, reader), readExtension(value));
  const config = quantizedDecoder(extended, quantization);
  const model = decoder(config);
  requireBlocks(config, shapesByPath(model.shapes), quantization);
  return { model, config: { family, document, generation, decoder: config } };
}

/**
 * Builds the block of a family from the keys of its configuration, for runners that hold it against
 * recorded cases.
 * @throws ConfigError, UnsupportedError naming the key
 */
export function blockFromConfig(
  family: Family,
  config: JsonObject,
  { fused = false }: BlockOptions = {},
): ConfiguredBlock {
  const { block } = family;
  const reader = readerOf(family, config);
  reader.requireSupported(block.supported ?? {});
  const parts = block.moe(reader, 0);
  const hiddenSize = reader.count(block.width ?? "hidden_size");
  const { layer, router, networks, shapes, stateShapes } = moePart(
    parts,
    hiddenSize,
    reader.number("initializer_range"),
  );
  return {
    layer,
    experts: router.experts,
    spec: router.spec,
    moe: parts,
    hiddenSize,
    losses: block.losses(reader),
    rules: blockRules(family, fused),
    sizes: { expert: networks },
    shapes: { ...shapes, state: stateShapes },
  };
}

function readDecoder(family: Family, parts: FamilyDecoder, reader: ConfigReader): DecoderConfig {
  reader.requireSupported(parts.supported ?? {});
  reader.requireSupported(family.block.supported ?? {});
  const attention = parts.attention(reader);
  const layers = Array.from({ length: reader.count("num_hidden_layers") }, (_, layer) => {
    const window = parts.window?.(reader, layer);
    return {
      ...((parts.sparse?.(reader, layer) ?? true)
        ? { moe: family.block.moe(reader, layer) }
        : { dense: parts.dense(reader) }),
      ...(window !== undefined && { attention: { ...attention, window } }),
    };
  });
  return {
    vocabSize: reader.count("vocab_size"),
    hiddenSize: reader.count("hidden_size"),
    rmsNormEps: reader.number("rms_norm_eps"),
    initializerRange: reader.number("initializer_range"),
    tieWordEmbeddings: reader.flag("tie_word_embeddings"),
    ...parts.norms?.(reader),
    attention,
    ...(parts.scales && { scales: parts.scales(reader) }),
    layers,
    losses: (parts.losses ?? family.block.losses)(reader).map(withoutName),
  };
}

function withoutName({ name: _, ...loss }: FamilyLoss): DecoderConfig["losses"][number] {
  return loss;
}

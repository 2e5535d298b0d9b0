import {
  type Checkpoint,
  type JsonObject,
  type TensorInfo,
  requireMatch,
} from "@moiety/checkpoints";
import { MoietyError } from "@moiety/core";
import { bindSource, familyOf } from "@moiety/models";
import { commonKeys, headerWeights } from "./header-weights.ts";
import { type ExpertFacts, type LayerFacts, blockFacts, layerFacts } from "./layer-facts.ts";
import { type MemoryNeed, memoryNeeds } from "./memory.ts";
import { modelWeights } from "./model-weights.ts";
import { type ParameterCount, type Weight, countParameters, matrixFlops } from "./weight.ts";

/** What the tensors of one dtype take in the files. */
export interface StoredDtype {
  readonly dtype: string;
  readonly tensors: number;
  readonly bytes: number;
}

/** What a model's headers and configuration say. */
export interface Inspection {
  readonly folder: string;
  /** `model_type`. */
  readonly family: string | null;
  readonly architecture: string | null;
  /** Whether the `model` can be run here, its `block` of experts alone, or neither. */
  readonly built: "model" | "block" | "none";
  /** Why it is not, and what in the files does not fit its configuration; empty where all is well. */
  readonly unsupported: readonly string[];
  readonly layerCount: number | null;
  readonly hiddenSize: number | null;
  readonly vocabSize: number | null;
  /** Each layer, where the model is built. */
  readonly layers: readonly LayerFacts[];
  /** The first layer with experts; of a block, that of the family. */
  readonly experts: ExpertFacts | null;
  /** Counted by the configuration of a model that is built, else by the names of tensors. */
  readonly parameters: ParameterCount;
  readonly stored: readonly StoredDtype[];
  readonly memory: readonly MemoryNeed[];
  /** Floating-point operations of the products of a new token with matrices; null if not known. */
  readonly flopsPerToken: number | null;
  /** Those of its attention, for each token in the cache. */
  readonly flopsPerCachedToken: number | null;
  /** Bytes of the keys and values of a token, in float32. */
  readonly cacheBytesPerToken: number | null;
}

const F32_BYTES = 4;

/** Inspects an open folder. Nothing is read from it but what its headers said. */
export function inspectModel(checkpoint: Checkpoint): Inspection {
  const values = textSection(checkpoint.config.value);
  const problems: string[] = [];
  const bound = told(problems, () => bindSource(checkpoint));
  if (bound !== undefined) told(problems, () => requireMatch(bound.report, checkpoint.folder));
  const configured = bound?.stored;
  const layers = configured === undefined ? [] : layerFacts(configured.config.decoder);
  const block = configured === undefined ? blockOf(checkpoint.config.value) : undefined;
  const weights =
    configured === undefined
      ? headerWeights(checkpoint.tensors.values(), chosenKeys(values, block))
      : modelWeights(configured.model, layers);
  return {
    folder: checkpoint.folder,
    family: textOf(checkpoint.config.value["model_type"]),
    architecture: firstText(checkpoint.config.value["architectures"]),
    built: configured !== undefined ? "model" : block !== undefined ? "block" : "none",
    unsupported: problems,
    layerCount: countOf(values["num_hidden_layers"]),
    hiddenSize: configured?.config.decoder.hiddenSize ?? countOf(values["hidden_size"]),
    vocabSize: configured?.config.decoder.vocabSize ?? countOf(values["vocab_size"]),
    layers,
    experts: block ?? layers.find(({ experts }) => experts !== null)?.experts ?? null,
    stored: storedDtypes(checkpoint.tensors.values()),
    ...needs(weights, layers),
  };
}

function needs(
  weights: readonly Weight[],
  layers: readonly LayerFacts[],
): Pick<
  Inspection,
  "parameters" | "memory" | "flopsPerToken" | "flopsPerCachedToken" | "cacheBytesPerToken"
> {
  const attention = layers.map((layer) => layer.attention);
  const known = attention.length > 0;
  const sum = (of: (layer: LayerFacts["attention"]) => number): number | null =>
    known ? attention.reduce((total, layer) => total + of(layer), 0) : null;
  return {
    parameters: countParameters(weights),
    memory: memoryNeeds(weights),
    flopsPerToken: matrixFlops(weights) ?? null,
    flopsPerCachedToken: sum((one) => 2 * one.heads * (one.keyWidth + one.valueWidth)),
    cacheBytesPerToken: sum(
      (one) => F32_BYTES * one.keyValueHeads * (one.keyWidth + one.valueWidth),
    ),
  };
}

/** Does something; what one of our errors says goes to the problems. */
function told<Value>(problems: string[], work: () => Value): Value | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof MoietyError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** The block of a family that is known, where the keys of its configuration are. */
function blockOf(config: JsonObject): ExpertFacts | undefined {
  try {
    return blockFacts(familyOf(config["model_type"]), config);
  } catch (error) {
    if (error instanceof MoietyError) return undefined;
    throw error;
  }
}

function chosenKeys(
  values: JsonObject,
  block: ExpertFacts | undefined,
): ReturnType<typeof commonKeys> {
  const keys = commonKeys(values);
  return { experts: block?.experts ?? keys.experts, chosen: block?.chosen ?? keys.chosen };
}

function storedDtypes(tensors: Iterable<TensorInfo>): StoredDtype[] {
  const found = new Map<string, { tensors: number; bytes: number }>();
  for (const { dtype, byteLength } of tensors) {
    const sum = found.get(dtype) ?? { tensors: 0, bytes: 0 };
    found.set(dtype, { tensors: sum.tensors + 1, bytes: sum.bytes + byteLength });
  }
  return [...found]
    .map(([dtype, sum]) => ({ dtype, ...sum }))
    .toSorted((a, b) => b.bytes - a.bytes);
}

/** The keys of the language model, wherever they stand. */
function textSection(config: JsonObject): JsonObject {
  const section = config["text_config"];
  const isObject = typeof section === "object" && section !== null && !Array.isArray(section);
  return isObject ? { ...config, ...(section as JsonObject) } : config;
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function firstText(value: unknown): string | null {
  return textOf(Array.isArray(value) ? (value as readonly unknown[])[0] : value);
}

function countOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

import {
  type RuleSizes,
  type TensorBinding,
  type TensorRule,
  type TensorStorage,
  bindRules,
} from "@moiety/checkpoints";
import type { Shape } from "@moiety/core";
import type { DecoderConfig } from "./decoder/config.ts";
import { moePart } from "./decoder/moe-layer.ts";
import { readExtension } from "./extension.ts";
import type { ConfiguredModel } from "./from-config.ts";
import { heldBindings } from "./quantize/bindings.ts";
import { readQuantization } from "./quantize/quantization.ts";
import { modelRules } from "./rules.ts";
import { shapesByPath } from "./tree.ts";

/** Paths of layers, in the parameters or in the state. */
const LAYER = /^(?:state\.)?layers\.(\d+)\./;

/**
 * Which tensors of a checkpoint make up each leaf of a model; paths of state begin with `state.`.
 * `storage` says how the checkpoint may hold those that are not plain values. Those of a quantised leaf
 * have paths of their own: `.codes` and `.scales` below the leaf's.
 */
export function bindModel(
  { model, config }: ConfiguredModel,
  storage?: TensorStorage,
): TensorBinding[] {
  const known = modelRules(config.family);
  const rules = storage ? known.map((rule) => ({ storage, ...rule })) : known;
  const shapes = shapesByPath({ ...model.shapes, state: model.stateShapes });
  const around = rules.filter(({ path }) => !path.includes("{layer}"));
  const bound = bindRules(around, {}, within(shapes, undefined));
  const isExtended = readExtension(config.document.value).router !== undefined;
  const inLayers = config.decoder.layers.flatMap((_, index) => {
    const leaves = within(shapes, index);
    const sizes: RuleSizes = { layer: [index], expert: networksOf(config.decoder, index) ?? 1 };
    const named = rulesOf(rules, index);
    return bindRules(
      isExtended ? [...named, ...rulesOfRouter(named, index, leaves)] : named,
      sizes,
      leaves,
    );
  });
  const { quantization } = readQuantization(config.document.value);
  return [...bound, ...inLayers].flatMap((binding) => heldBindings(binding, quantization));
}

/** The leaves of one layer, or those outside all of them. */
function within(shapes: ReadonlyMap<string, Shape>, layer: number | undefined): Map<string, Shape> {
  const layerOf = (path: string): number | undefined => {
    const [, index] = LAYER.exec(path) ?? [];
    return index === undefined ? undefined : Number(index);
  };
  return new Map([...shapes].filter(([path]) => layerOf(path) === layer));
}

/** The rules that a layer has. */
function rulesOf(rules: readonly TensorRule[], layer: number): TensorRule[] {
  return rules
    .filter(({ path, layers }) => path.includes("{layer}") && (layers?.includes(layer) ?? true))
    .map((rule) => ({ ...rule, layers: undefined }));
}

/** Leaves of a router that the family has no names for stand under names of their own. */
function rulesOfRouter(
  known: readonly TensorRule[],
  layer: number,
  leaves: ReadonlyMap<string, Shape>,
): TensorRule[] {
  const named = new Set(known.map(({ path }) => path.replace("{layer}", String(layer))));
  return [...leaves.keys()]
    .filter((path) => path.includes(".moe.router.") && !named.has(path))
    .map((path) => ({ path, names: [`moiety.${path}`] }));
}

/** How many experts of a layer have weights of their own; `undefined` where it has none. */
export function networksOf(
  { layers, hiddenSize, initializerRange }: DecoderConfig,
  index: number,
): number | undefined {
  const layer = layers[index];
  if (!layer || !("moe" in layer)) return undefined;
  return moePart(layer.moe, hiddenSize, initializerRange).networks;
}

import {
  type RuleSizes,
  type TensorBinding,
  type TensorRule,
  bindRules,
} from "@moiety/checkpoints";
import type { Shape } from "@moiety/core";
import type { DecoderConfig } from "./decoder/config.ts";
import { moePart } from "./decoder/moe-layer.ts";
import { readExtension } from "./extension.ts";
import type { ConfiguredModel } from "./from-config.ts";
import { modelRules } from "./rules.ts";
import { shapesByPath } from "./tree.ts";

/** Paths of layers, in the parameters or in the state. */
const LAYER = /^(?:state\.)?layers\.(\d+)\./;

/** Which tensors of a checkpoint make up each leaf of a model; paths of state begin with `state.`. */
export function bindModel({ model, config }: ConfiguredModel): TensorBinding[] {
  const rules = modelRules(config.family);
  const shapes = shapesByPath({ ...model.shapes, state: model.stateShapes });
  const around = rules.filter(({ path }) => !path.includes("{layer}"));
  const bound = bindRules(around, {}, within(shapes, undefined));
  const isExtended = readExtension(config.document.value).router !== undefined;
  const inLayers = config.decoder.layers.flatMap((_, index) => {
    const [leaves, sizes] = [within(shapes, index), sizesOf(config.decoder, index)];
    const known = rulesOf(rules, index);
    return bindRules(
      isExtended ? [...known, ...rulesOfRouter(known, index, leaves)] : known,
      sizes,
      leaves,
    );
  });
  return [...bound, ...inLayers];
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

function sizesOf(
  { layers, hiddenSize, initializerRange }: DecoderConfig,
  index: number,
): RuleSizes {
  const layer = layers[index];
  if (!layer || !("moe" in layer)) return { layer: [index], expert: 1 };
  const { networks } = moePart(layer.moe, hiddenSize, initializerRange);
  return { layer: [index], expert: networks };
}

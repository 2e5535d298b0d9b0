import { type DecoderModel, shapesByPath } from "@moiety/models";
import type { LayerFacts } from "./layer-facts.ts";
import type { Weight } from "./weight.ts";

const LAYER = /^layers\.(\d+)\./;
const BANK = /^layers\.\d+\.moe\.experts\./;
const MATRIX = /^(?:embedding|head|layers\.\d+\.(?:attention|dense|moe\.shared)\..+)$/;

/** The weights of a model that is built, by the tree of its parameters. */
export function modelWeights(model: DecoderModel, layers: readonly LayerFacts[]): Weight[] {
  const isTied = model.config.tieWordEmbeddings;
  return [...shapesByPath(model.shapes)].map(([path, shape]): Weight => {
    const ofExperts = BANK.test(path) && hasExpertAxis(path, shape.length);
    const layer = layers[Number(LAYER.exec(path)?.[1] ?? Number.NaN)]?.experts;
    const share = layer && layer.chosen !== null ? layer.chosen / layer.experts : undefined;
    const isMatrix = shape.length === 2 && MATRIX.test(path);
    return {
      shape,
      kind: ofExperts && shape.length === 3 ? "experts" : isMatrix ? "matrix" : "kept",
      used: ofExperts ? share : 1,
      isLookup: path === "embedding" && !isTied,
    };
  });
}

/** Whether a leaf of a bank has a part for each expert: a stack of matrices, or of their biases. */
function hasExpertAxis(path: string, axes: number): boolean {
  return axes === 3 || (axes === 2 && path.endsWith("Bias"));
}

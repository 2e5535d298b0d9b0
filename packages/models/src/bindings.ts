import { type TensorBinding, bindRules } from "@moiety/checkpoints";
import type { ConfiguredModel } from "./from-config.ts";
import { modelRules } from "./rules.ts";
import { shapesByPath } from "./tree.ts";

/** Which tensors of a checkpoint make up each leaf of a model; paths of state begin with `state.`. */
export function bindModel({ model, config }: ConfiguredModel): TensorBinding[] {
  const { layers } = config.decoder;
  const [experts = 1] = layers.flatMap((layer) =>
    "moe" in layer ? layer.moe.router.spec.experts : [],
  );
  return bindRules(
    modelRules(config.family),
    { layer: layers.map((_, index) => index), expert: experts },
    shapesByPath({ ...model.shapes, state: model.stateShapes }),
  );
}

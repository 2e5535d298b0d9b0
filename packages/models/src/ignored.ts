import { readerOf } from "./family-reader.ts";
import type { ConfiguredModel } from "./from-config.ts";

/**
 * Names of tensors that a checkpoint may hold and the model has no use for, as `checkTensors` of
 * `@moiety/checkpoints` takes them: the tied projection once more, and layers behind the last that
 * predict tokens after the next.
 */
export function ignoredTensors({ model, config }: ConfiguredModel): string[] {
  const { family, document } = config;
  const { ignore = [], nextLayers } = family.decoder ?? {};
  const further = nextLayers
    ? (readerOf(family, document.value).countIfAny(nextLayers, 0) ?? 0)
    : 0;
  const last = model.config.layers.length;
  return [
    ...ignore,
    ...(model.shapes.head ? [] : ["lm_head.weight"]),
    ...Array.from({ length: further }, (_, index) => `model.layers.${last + index}.{rest}`),
  ];
}

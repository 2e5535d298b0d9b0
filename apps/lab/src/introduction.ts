import type { ExperimentContext } from "./experiment-context.ts";
import { size } from "./format.ts";
import { modelOf, sizesOf } from "./model-config.ts";
import type { ModelName } from "./result.ts";
import { type ModelSize, modelSize, routerSize } from "./size.ts";

/** What a run trains on what, a line each. */
export function introduction({
  settings,
  text,
}: Pick<ExperimentContext, "settings" | "text">): readonly string[] {
  const { model, training, router, balance } = settings;
  const bytes = text.domains.reduce((sum, domain) => sum + domain.training.length, 0);
  const sizeOf = (name: ModelName): ModelSize =>
    modelSize(
      sizesOf(name, settings),
      training.sequenceLength,
      routerSize(modelOf(name, settings).model),
    );
  const weight = (name: ModelName): string => {
    const { parameters, activeParameters } = sizeOf(name);
    return `${size(parameters)} parameters, ${size(activeParameters)} active for a byte`;
  };
  const wide = model.intermediateSize * model.numExpertsPerTok;
  return [
    `text: ${text.source}; ${text.domains.length} domains, ${size(bytes)} bytes for training`,
    `sparse: ${model.numHiddenLayers} layers of ${model.numExperts} experts, ` +
      `${model.numExpertsPerTok} for a byte by ${router}, balance ${balance}; ${weight("sparse")}`,
    `dense:  one expert of width ${wide} in each layer; ${weight("dense")}`,
    `hash:   the experts of sparse, by a fixed hash of the byte; ${weight("hash")}`,
  ];
}

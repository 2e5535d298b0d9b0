import type { DecoderConfig } from "../decoder/config.ts";
import { decoderRouter } from "../decoder/router.ts";
import type { ExpertLayer, RoutedToken } from "./routed-token.ts";

/** The layers of a model that have experts, in order. */
export function expertLayers(config: DecoderConfig): readonly ExpertLayer[] {
  return config.layers.flatMap((layer, index) =>
    "moe" in layer
      ? [{ layer: index, experts: decoderRouter(layer.moe.router, config).experts }]
      : [],
  );
}

/**
 * The layers with experts that records tell of, for records without their model: a layer then has as
 * many experts as the largest number in it says.
 */
export function expertLayersIn(records: Iterable<RoutedToken>): readonly ExpertLayer[] {
  const found = new Map<number, number>();
  for (const { layers } of records) {
    for (const { layer, experts } of layers) {
      const most = experts.reduce((count, expert) => Math.max(count, expert + 1), 0);
      found.set(layer, Math.max(found.get(layer) ?? 0, most));
    }
  }
  return [...found].sort(([a], [b]) => a - b).map(([layer, experts]) => ({ layer, experts }));
}

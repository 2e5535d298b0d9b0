import type { DecoderConfig } from "../decoder/config.ts";

/**
 * Lengths at which a model's rotary positions change for the tokens before, too: LongRoPE has other
 * factors beyond. What a cache holds is then to be computed anew, as transformers does
 * (`prepare_inputs_for_generation` of Phi-3 and PhiMoE). Other scalings by length go on as they are.
 */
export function rotaryLimits({ attention, layers }: DecoderConfig): ReadonlySet<number> {
  const scalings = layers.map((layer) => (layer.attention ?? attention).ropeScaling);
  return new Set(
    scalings.flatMap((scaling) =>
      scaling?.kind === "longrope" ? [scaling.originalMaxPositionEmbeddings] : [],
    ),
  );
}

import {
  type Tensor,
  add,
  div,
  maximum,
  mean,
  mul,
  rsqrt,
  sqrt,
  square,
  sub,
  sum,
} from "@moiety/core";

/** How tokens and slots are normalised before they are compared. */
export type SoftNorm = "unit" | "rms" | "layer";

/** Parameters of a norm over H. */
export interface SoftNormParams {
  /** `[H]`. */
  readonly gamma: Tensor;
  /** `[H]`, of `layer`: a constant, as in the source, where training does not change it. */
  readonly beta?: Tensor | undefined;
}

/**
 * Normalises `x […, H]`: `unit` is x · rsqrt(Σ x² + 1e-6) (vmoe), `rms` is x / max(‖x‖, 1e-12) · √H · γ
 * and `layer` is (x − mean) / √(variance + 1e-5) · γ + β (both lucidrains).
 */
export function normalizeForSlots(
  x: Tensor,
  norm: SoftNorm,
  { gamma, beta }: Partial<SoftNormParams> = {},
): Tensor {
  switch (norm) {
    case "unit":
      return mul(x, rsqrt(add(sum(square(x), [-1], true), 1e-6)));
    case "rms": {
      // The larger before the root, so that a row of zeros has a gradient.
      const length = sqrt(maximum(sum(square(x), [-1], true), 1e-24));
      const scaled = mul(div(x, length), Math.sqrt(x.shape.at(-1) ?? 1));
      return gamma ? mul(scaled, gamma) : scaled;
    }
    case "layer": {
      const centred = sub(x, mean(x, [-1], true));
      const scaled = mul(centred, rsqrt(add(mean(square(centred), [-1], true), 1e-5)));
      const stretched = gamma ? mul(scaled, gamma) : scaled;
      return beta ? add(stretched, beta) : stretched;
    }
  }
}

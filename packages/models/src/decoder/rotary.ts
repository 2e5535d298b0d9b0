import {
  type Backend,
  type FloatDType,
  ConfigError,
  rotaryFrequencies,
  rotaryTable,
} from "@moiety/core";
import type { AttentionConfig, RopeScaling, YarnScaling } from "./attention-config.ts";

/** Cosines and sines of the tokens' positions, `[T, D/2]`. */
export type Rotary = ReturnType<typeof rotaryTable>;

/** What turns the heads: angles per position, and a factor of what is turned. */
export interface RotaryAngles {
  /** Radians per position of each pair. */
  readonly frequencies: readonly number[];
  /** Factor of cosines and sines. */
  readonly scale: number;
}

/** Elements of a head that are turned. */
export function rotaryWidth(attention: AttentionConfig): number {
  if (attention.kind === "latent") return attention.qkRopeHeadDim;
  return attention.rotaryDim ?? attention.headDim;
}

/**
 * The angles of a configuration for sequences of `length` tokens, in double precision, as Hugging
 * Face's `modeling_rope_utils.py` has them.
 */
export function rotaryAngles(
  { ropeTheta, ropeScaling }: Pick<AttentionConfig, "ropeTheta" | "ropeScaling">,
  width: number,
  length: number,
): RotaryAngles {
  const plain = rotaryFrequencies(width, ropeTheta);
  if (ropeScaling === undefined) return { frequencies: plain, scale: 1 };
  switch (ropeScaling.kind) {
    case "linear":
      return { frequencies: plain.map((each) => each / ropeScaling.factor), scale: 1 };
    case "dynamic": {
      const { factor, originalMaxPositionEmbeddings: original } = ropeScaling;
      const stretch = (factor * Math.max(length, original)) / original - (factor - 1);
      const theta = ropeTheta * stretch ** (width / (width - 2));
      return { frequencies: rotaryFrequencies(width, theta), scale: 1 };
    }
    case "llama3":
      return { frequencies: plain.map((each) => llama3(each, ropeScaling)), scale: 1 };
    case "longrope": {
      const isLong = length > ropeScaling.originalMaxPositionEmbeddings;
      const { factors, scale } = isLong ? ropeScaling.long : ropeScaling.short;
      return { frequencies: plain.map((each, pair) => each / (factors[pair] ?? 1)), scale };
    }
    case "yarn":
      return {
        frequencies: yarn(plain, ropeTheta, width, ropeScaling),
        scale: ropeScaling.attentionFactor,
      };
    default: {
      const { kind } = ropeScaling as { readonly kind?: unknown };
      throw new ConfigError(
        `no rotary scaling is called ${String(kind)}`,
        "ropeScaling.kind",
        kind,
      );
    }
  }
}

/**
 * Tables of positions `start` to `end`, one for each different way of turning among `attentions`, in
 * their order. Scalings by length take the sequences for `length` long.
 */
export function rotaryTables(
  backend: Backend,
  attentions: readonly AttentionConfig[],
  {
    start,
    end,
    length,
    dtype,
  }: {
    readonly start: number;
    readonly end: number;
    readonly length: number;
    readonly dtype: FloatDType;
  },
): Rotary[] {
  const positions = Int32Array.from({ length: end - start }, (_, index) => start + index);
  const tables = new Map<string, Rotary>();
  return attentions.map((attention) => {
    const width = rotaryWidth(attention);
    const key = JSON.stringify([width, attention.ropeTheta, attention.ropeScaling]);
    const known = tables.get(key);
    if (known) return known;
    const angles = rotaryAngles(attention, width, length);
    const table = rotaryTable(backend, { positions, ...angles, dtype });
    tables.set(key, table);
    return table;
  });
}

/** The factor of attention that YaRN's paper gives for a stretch, weighed by `mscale`. */
export function yarnFactor(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

/** Low frequencies are stretched, high ones stay, those between are blended (Llama 3.1). */
function llama3(
  frequency: number,
  scaling: Extract<RopeScaling, { readonly kind: "llama3" }>,
): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > originalMaxPositionEmbeddings / lowFreqFactor) return frequency / factor;
  if (wavelength < originalMaxPositionEmbeddings / highFreqFactor) return frequency;
  const kept =
    (originalMaxPositionEmbeddings / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - kept) * frequency) / factor + kept * frequency;
}

/** Pairs that turn often in the original length stay, others are stretched (arXiv 2309.00071). */
function yarn(
  plain: readonly number[],
  theta: number,
  width: number,
  { factor, betaFast, betaSlow, truncate, originalMaxPositionEmbeddings }: YarnScaling,
): number[] {
  // The pair that makes so many turns within the original length, as a real number.
  const pairOf = (turns: number): number =>
    (width * Math.log(originalMaxPositionEmbeddings / (turns * 2 * Math.PI))) /
    (2 * Math.log(theta));
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, width - 1);
  // Keeps the ramp finite, as the reference does.
  const span = low === high ? 0.001 : high - low;
  return plain.map((frequency, pair) => {
    const stretched = Math.min(Math.max((pair - low) / span, 0), 1);
    return (frequency / factor) * stretched + frequency * (1 - stretched);
  });
}

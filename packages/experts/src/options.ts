import type { Activation, FfnDescriptor, GateClamp, GateLayout } from "@moiety/core";
import { ConfigError } from "@moiety/core";

/** What plain and gated feed-forward networks have in common. */
export interface FfnOptions {
  /** Width H of the input. */
  readonly hiddenSize: number;
  /** Width I between the projections; of one half where they are gated. */
  readonly intermediateSize: number;
  readonly activation: Activation;
  /** Whether both projections have biases. False unless given. */
  readonly bias?: boolean | undefined;
  /** Width O of the output; H unless given. */
  readonly outputSize?: number | undefined;
  /** Standard deviation of the initial weights. 0.02 unless given. */
  readonly initializerRange?: number | undefined;
  /** `[E, in, out]` instead of `[E, out, in]`. False unless given. */
  readonly transposed?: boolean | undefined;
}

/** What gated networks state beside {@link FfnOptions}. */
export interface GateOptions {
  /** How gate and up are packed: concatenated, gate first, unless given. */
  readonly layout?: GateLayout | undefined;
  /** Limits of the two halves (gpt-oss). None unless given. */
  readonly clamp?: GateClamp | undefined;
  /** Steepness of `silu` (gpt-oss: 1.702). 1 unless given. */
  readonly alpha?: number | undefined;
  /** Added to the up half (gpt-oss: 1). 0 unless given. */
  readonly upOffset?: number | undefined;
}

/** Options of a dense feed-forward network. */
export interface DenseOptions extends FfnOptions, GateOptions {
  /** Whether it is gated: down(act(gate(x)) · up(x)). */
  readonly gated: boolean;
}

/** Where gate and up stand unless a layout says otherwise: as in Hugging Face's fused experts. */
const GATE_FIRST: GateLayout = { packing: "concatenated", first: "gate" };

const ACTIVATIONS: readonly Activation[] = [
  "relu",
  "reluSquared",
  "gelu",
  "geluTanh",
  "silu",
  "identity",
];

/** States how the weights that these options make are read. @throws ConfigError naming the option */
export function descriptorOf(options: DenseOptions): FfnDescriptor {
  const { activation, gated, layout = GATE_FIRST, clamp, alpha, upOffset, transposed } = options;
  requireSize("hiddenSize", options.hiddenSize);
  requireSize("intermediateSize", options.intermediateSize);
  requireSize("outputSize", options.outputSize ?? options.hiddenSize);
  if (!ACTIVATIONS.includes(activation)) {
    throw refuse("activation", activation, `one of ${ACTIVATIONS.join(", ")}`);
  }
  requireDeviation(options.initializerRange ?? 0);
  return {
    activation,
    ...(alpha !== undefined && { alpha }),
    ...(transposed && { transposed }),
    ...(gated && { gate: layout }),
    ...(gated && clamp !== undefined && { clamp }),
    ...(gated && upOffset !== undefined && { upOffset }),
  };
}

/** Throws {@link ConfigError} unless the option is a whole number from 1. */
export function requireSize(key: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) throw refuse(key, value, "a whole number from 1");
}

/** Throws {@link ConfigError} unless a standard deviation is a finite number from 0. */
export function requireDeviation(value: number): void {
  if (value >= 0 && Number.isFinite(value)) return;
  throw refuse("initializerRange", value, "a finite number from 0");
}

/** The error of an option that makes no sense. */
export function refuse(key: string, value: unknown, wanted: string): ConfigError {
  return new ConfigError(`${key} is ${String(value)}, but must be ${wanted}`, key, value);
}

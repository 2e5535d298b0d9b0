import {
  ConfigError,
  type Leaf,
  type Shape,
  formatShape,
  isQuantized,
  quantizedFormats,
} from "@moiety/core";
import {
  type ExpertFormat,
  type Quantization,
  type RestDType,
  expertFormats,
} from "./quantization.ts";
import type { DecoderConfig } from "../decoder/config.ts";

/** Matrices of a bank of networks, wherever it stands among a layer's experts. */
const BANK = /^layers\.\d+\.moe\.experts\.(?:.+\.)?(?:gateUp|up|down)$/;
/** What holds other matrices. Not among them: routers, gates of shared experts, what stands around banks. */
const REST = /^(?:embedding|head|layers\.\d+\.(?:attention|dense|moe\.shared\.ffn)\..+)$/;

/** What becomes of a leaf: codes of a format, floats of a dtype, or what it is already. */
export type LeafPlan =
  | { readonly kind: "codes"; readonly format: ExpertFormat }
  | { readonly kind: "floats"; readonly dtype: RestDType }
  | { readonly kind: "kept" };

const KEPT: LeafPlan = { kind: "kept" };

/** The bank of a path: its layer, and its number where there are several. */
const BANK_NUMBER = /^layers\.(\d+)\.moe\.experts\.(?:bank\.)*(?:(\d+)\.)?/;

/** Whether a bank's matrices lie `[E, in, out]`. */
export function isTransposedBank({ layers }: DecoderConfig, path: string): boolean {
  const [, layer, bank = "0"] = BANK_NUMBER.exec(path) ?? [];
  const config = layers[Number(layer)];
  if (config === undefined || !("moe" in config)) return false;
  const { expert, others = [] } = config.moe;
  return [expert, ...others][Number(bank)]?.transposed ?? false;
}

/** Plans a leaf of the parameters by its path and the shape of its numbers. */
export function planLeaf(path: string, shape: Shape, { experts, rest }: Quantization): LeafPlan {
  // A projection to latents bears such a name too, but has no axis of experts.
  const isBank = shape.length === 3 && BANK.test(path);
  if (isBank && experts !== undefined) return { kind: "codes", format: experts };
  const isRest = isBank || (shape.length === 2 && REST.test(path));
  return isRest && rest !== undefined ? { kind: "floats", dtype: rest } : KEPT;
}

/** A shape with its last two axes the other way round. */
export function swapLast(shape: Shape): Shape {
  const [rows = 0, columns = 0] = shape.slice(-2);
  return [...shape.slice(0, -2), columns, rows];
}

/**
 * Throws {@link ConfigError} where rows of experts' matrices will not hold whole blocks, naming all.
 * `config` and `shapes` are those of the model before it is quantised.
 */
export function requireBlocks(
  config: DecoderConfig,
  shapes: ReadonlyMap<string, Shape>,
  quantization: Quantization,
): void {
  const misfits: string[] = [];
  for (const [path, given] of shapes) {
    const plan = planLeaf(path, given, quantization);
    if (plan.kind !== "codes") continue;
    const { block = 1 } = quantizedFormats[expertFormats[plan.format]];
    const shape = isTransposedBank(config, path) ? swapLast(given) : given;
    if ((shape.at(-1) ?? 0) % block !== 0) misfits.push(`${path} ${formatShape(shape)}`);
  }
  if (misfits.length === 0) return;
  const { experts } = quantization;
  throw new ConfigError(
    `rows of ${misfits.join(", ")} do not hold whole blocks of 32, which ${experts} is made of; ` +
      "take q8_row",
    "experts",
    experts,
  );
}

/** Frees a leaf. */
export function disposeLeaf(leaf: Leaf): void {
  if (isQuantized(leaf)) {
    leaf.codes.dispose();
    leaf.scales.dispose();
  } else {
    leaf.dispose();
  }
}

import {
  ConfigError,
  type Leaf,
  type Shape,
  formatShape,
  isQuantized,
  quantizedFormats,
  storedFormat,
} from "@moiety/core";
import type { DecoderConfig, FfnConfig } from "../decoder/config.ts";
import {
  type ExpertFormat,
  type Quantization,
  type RestDType,
  bankFormat,
  expertFormats,
  isFormat,
} from "./quantization.ts";

/** Matrices of a bank of networks, wherever it stands among a layer's experts. */
const BANK = /^layers\.\d+\.moe\.experts\.(?:.+\.)?(?:gateUp|up|down)$/;
/** Other matrices. Not among them: routers, gates of shared experts, what stands around banks. */
const REST = /^(?:embedding|head|layers\.\d+\.(?:attention|dense|moe\.shared\.ffn)\.\w+)$/;

/** What becomes of a leaf: codes of a format, floats of a dtype, or what it is already. */
export type LeafPlan =
  | { readonly kind: "codes"; readonly format: ExpertFormat }
  | { readonly kind: "floats"; readonly dtype: RestDType }
  | { readonly kind: "kept" };

const KEPT: LeafPlan = { kind: "kept" };

/** The network of a path: its layer, whose part it is, and of banks its number where there are several. */
const NETWORK = /^layers\.(\d+)\.(dense|moe\.shared\.ffn|moe\.experts)\.(?:bank\.)*(?:(\d+)\.)?/;

/** Whether a network's matrices lie `[…, in, out]`. */
export function isTransposed({ layers }: DecoderConfig, path: string): boolean {
  const [, layer, part, bank = "0"] = NETWORK.exec(path) ?? [];
  const config = layers[Number(layer)];
  if (config === undefined) return false;
  const networks: readonly (FfnConfig | undefined)[] = !("moe" in config)
    ? [config.dense]
    : part === "moe.experts"
      ? [config.moe.expert, ...(config.moe.others ?? [])]
      : [config.moe.shared];
  return networks[Number(bank)]?.transposed ?? false;
}

/** Plans a leaf of the parameters by its path and the shape of its numbers. */
export function planLeaf(path: string, shape: Shape, quantization: Quantization): LeafPlan {
  // A projection to latents bears such a name too, but has no axis of experts.
  const isBank = shape.length === 3 && BANK.test(path);
  if (!isBank && !(shape.length === 2 && REST.test(path))) return KEPT;
  const { rest } = quantization;
  const held = isBank ? (bankFormat(quantization) ?? rest) : rest;
  if (held === undefined) return KEPT;
  return isFormat(held) ? { kind: "codes", format: held } : { kind: "floats", dtype: held };
}

/** The format of a leaf in codes by its path; undefined where such a leaf is not held in codes. */
export function codesFormat(path: string, quantization: Quantization): ExpertFormat | undefined {
  if (BANK.test(path)) return bankFormat(quantization);
  return isFormat(quantization.rest) ? quantization.rest : undefined;
}

/** A shape with its last two axes the other way round. */
export function swapLast(shape: Shape): Shape {
  const [rows = 0, columns = 0] = shape.slice(-2);
  return [...shape.slice(0, -2), columns, rows];
}

/**
 * Throws {@link ConfigError} where rows of matrices will not hold whole blocks, naming all.
 * `config` and `shapes` are those of one model, before or after it is quantised.
 */
export function requireBlocks(
  config: DecoderConfig,
  shapes: ReadonlyMap<string, Shape>,
  quantization: Quantization,
): void {
  const misfits: { readonly path: string; readonly leaf: string; readonly format: ExpertFormat }[] =
    [];
  for (const [path, given] of shapes) {
    const plan = planLeaf(path, given, quantization);
    if (plan.kind !== "codes") continue;
    const { block = 1 } = quantizedFormats[storedFormat(expertFormats[plan.format])];
    const shape = isTransposed(config, path) ? swapLast(given) : given;
    if ((shape.at(-1) ?? 0) % block === 0) continue;
    misfits.push({ path, leaf: `${path} ${formatShape(shape)}`, format: plan.format });
  }
  const [first] = misfits;
  if (first === undefined) return;
  const formats = [...new Set(misfits.map(({ format }) => format))].join(" and ");
  throw new ConfigError(
    `rows of ${misfits.map(({ leaf }) => leaf).join(", ")} do not hold whole blocks of 32, which ` +
      `${formats} is made of; take q8_row`,
    BANK.test(first.path) && quantization.experts !== undefined ? "experts" : "rest",
    first.format,
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

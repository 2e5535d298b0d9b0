import {
  ConfigError,
  type Leaf,
  type Tensor,
  isTensor,
  leavesOf,
  mapTree,
  transpose,
} from "@moiety/core";
import { bindModel } from "../bindings.ts";
import { decoder } from "../decoder/decoder.ts";
import type { ConfiguredModel } from "../from-config.ts";
import type { ReadyModel } from "../load.ts";
import { shapesByPath } from "../tree.ts";
import { CodesWriter } from "./codes-writer.ts";
import {
  type LeafPlan,
  disposeLeaf,
  isTransposed,
  planLeaf,
  requireBlocks,
  swapLast,
} from "./leaves.ts";
import { narrowed, wideSlice } from "./narrow.ts";
import {
  type Quantization,
  bankFormat,
  checkQuantization,
  isFormat,
  quantizedDecoder,
  readQuantization,
  withQuantization,
} from "./quantization.ts";

/** Options of {@link quantize}. */
export interface QuantizeOptions extends Quantization {
  /**
   * Whether each leaf is freed as soon as its codes stand, so that the model never stands twice. The
   * model that was given is dead afterwards, also where this fails. False unless given.
   */
  readonly donate?: boolean | undefined;
}

/**
 * The model with its experts' matrices in a format, leaves `{ codes, scales }`, and its other matrices
 * in a format or in a narrower dtype. Codes are the nearest that `hostQuantize` of `@moiety/experts`
 * finds, piece by piece. Shared experts run for every token, and belong to `rest`. Routers stay as they
 * are, so what differs in a routing is what its input differs in.
 *
 * Leaves that stay as they are (norms, biases, routers, all state) are those of the model given.
 * @throws ConfigError for a format that there is not, for a model that is quantised already, and where
 * rows do not hold whole blocks, naming the leaves; NumericError naming a leaf that is not finite, or
 * beyond the range of `rest`
 *
 * @example
 * const small = await quantize(ready, { experts: "q4_32", donate: true });
 */
export async function quantize(ready: ReadyModel, options: QuantizeOptions): Promise<ReadyModel> {
  const { donate = false } = options;
  const { config, params, state } = ready;
  const { model, config: changed } = quantizedModel(ready, options);
  const made = new Map<string, Leaf>();
  try {
    for (const { path, leaf } of leavesOf(params)) {
      const isTurned = isTransposed(config.decoder, path);
      const changed = await changedLeaf(path, leaf, isTurned, options);
      if (changed === undefined) continue;
      made.set(path, changed);
      if (donate) disposeLeaf(leaf);
    }
  } catch (error) {
    for (const leaf of made.values()) disposeLeaf(leaf);
    if (donate) for (const { leaf } of leavesOf({ params, state })) disposeLeaf(leaf);
    throw error;
  }
  return {
    model,
    params: mapTree(params, (leaf, path) => made.get(path) ?? leaf) as ReadyModel["params"],
    state,
    config: { ...changed, stored: storedOf(ready, made) },
  };
}

/**
 * A model without weights, as it is once they are quantised.
 * @throws ConfigError as {@link quantize} does
 */
export function quantizedModel(
  { model, config }: ConfiguredModel,
  wanted: Quantization,
): ConfiguredModel {
  const { experts, rest } = wanted;
  checkQuantization(wanted);
  if (experts === undefined && rest === undefined) return { model, config };
  const { quantization: before } = readQuantization(config.document.value);
  refuseCodes("experts", "the experts are", bankFormat(before), experts);
  refuseCodes("rest", "other matrices are", isFormat(before.rest) ? before.rest : undefined, rest);
  const all = { experts: experts ?? bankFormat(before), rest: rest ?? before.rest };
  requireBlocks(config.decoder, shapesByPath(model.shapes), all);
  const inFormat = quantizedDecoder(config.decoder, all);
  const document = withQuantization(config.document, all);
  return { model: decoder(inFormat), config: { ...config, document, decoder: inFormat } };
}

/** Refuses to make other codes of codes. */
function refuseCodes(
  key: keyof Quantization,
  what: string,
  before: string | undefined,
  wanted: string | undefined,
): void {
  if (before === undefined || wanted === undefined) return;
  throw new ConfigError(
    `${what} in ${before} already; quantise the model that they were made of`,
    key,
    wanted,
  );
}

/** A new leaf by its plan; undefined where it stays as it is. */
async function changedLeaf(
  path: string,
  leaf: Leaf,
  isTurned: boolean,
  quantization: Quantization,
): Promise<Leaf | undefined> {
  if (!isTensor(leaf)) return undefined;
  const plan: LeafPlan = planLeaf(path, leaf.shape, quantization);
  if (plan.kind === "codes") {
    const shape = isTurned ? swapLast(leaf.shape) : leaf.shape;
    return inCodes(leaf, isTurned, new CodesWriter(leaf.backend, path, shape, plan.format));
  }
  const stays = plan.kind === "kept" || isHeld(leaf, plan.dtype);
  return stays ? undefined : narrowed(leaf, plan.dtype, path);
}

/** Whether a leaf is in a dtype already; `f32` stands for all full floats. */
function isHeld({ dtype }: Tensor, wanted: string): boolean {
  return dtype === wanted || (wanted === "f32" && dtype === "f64");
}

/** Reads matrices piece by piece, and writes their codes. */
async function inCodes(matrices: Tensor, isTurned: boolean, writer: CodesWriter): Promise<Leaf> {
  let at = 0;
  try {
    for (const { starts, sizes } of piecesOf(matrices, isTurned)) {
      const piece = matrices.backend.scope(() => {
        const box = wideSlice(matrices, starts, sizes);
        return isTurned ? swapAxes(box) : box;
      });
      const values = await piece.read();
      piece.dispose();
      writer.write(at, values as Float32Array | Float64Array);
      at += values.length;
    }
    return writer.finish();
  } catch (error) {
    disposeLeaf(writer.finish());
    throw error;
  }
}

/** Numbers of a matrix that are read at once. */
const PIECE = 1 << 22;

/** Boxes of matrices in their order: of a bank one expert each, of a matrix some rows, or all to be turned. */
function piecesOf(
  { shape }: Tensor,
  isTurned: boolean,
): { readonly starts: number[]; readonly sizes: number[] }[] {
  const [count = 0, ...inner] = shape;
  const isBank = shape.length === 3;
  const rows = Math.max(1, Math.floor(PIECE / Math.max(1, inner[0] ?? 1)));
  const step = isBank ? 1 : isTurned ? count : rows;
  const pieces = step === 0 ? 0 : Math.ceil(count / step);
  return Array.from({ length: pieces }, (_, index) => ({
    starts: [index * step, ...inner.map(() => 0)],
    sizes: [Math.min(step, count - index * step), ...inner],
  }));
}

/** A box with its last two axes the other way round. */
function swapAxes(box: Tensor): Tensor {
  const axes = box.shape.map((_, axis) => axis);
  return transpose(box, { permutation: [...axes.slice(0, -2), ...axes.slice(-2).reverse()] });
}

/** The dtypes of tensors in files, without those of leaves that were changed. */
function storedOf(
  { model, config }: ReadyModel,
  changed: ReadonlyMap<string, Leaf>,
): ReadyModel["config"]["stored"] {
  const { stored } = config;
  if (stored === undefined) return undefined;
  const kept = new Map(stored);
  for (const { path, parts } of bindModel({ model, config })) {
    if (!changed.has(path)) continue;
    for (const { name } of parts) kept.delete(name);
  }
  return kept;
}

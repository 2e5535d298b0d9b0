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
  isTransposedBank,
  planLeaf,
  requireBlocks,
  swapLast,
} from "./leaves.ts";
import { narrowed, wideSlice } from "./narrow.ts";
import {
  type Quantization,
  checkQuantization,
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
 * in a narrower dtype. Codes are the nearest that `hostQuantize` of `@moiety/experts` finds, expert by
 * expert. Routed experts alone get codes: shared experts run for every token, and belong to `rest`.
 * Routers stay as they are, so what differs in a routing is what its input differs in.
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
      const isTransposed = isTransposedBank(config.decoder, path);
      const changed = await changedLeaf(path, leaf, isTransposed, options);
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
  if (before.experts !== undefined && experts !== undefined) {
    throw new ConfigError(
      `the experts are in ${before.experts} already; quantise the model that they were made of`,
      "experts",
      experts,
    );
  }
  requireBlocks(config.decoder, shapesByPath(model.shapes), wanted);
  const inFormat = quantizedDecoder(config.decoder, wanted);
  const all = { experts: experts ?? before.experts, rest: rest ?? before.rest };
  const document = withQuantization(config.document, all);
  return { model: decoder(inFormat), config: { ...config, document, decoder: inFormat } };
}

/** A new leaf by its plan; undefined where it stays as it is. */
async function changedLeaf(
  path: string,
  leaf: Leaf,
  isTransposed: boolean,
  quantization: Quantization,
): Promise<Leaf | undefined> {
  if (!isTensor(leaf)) return undefined;
  const plan: LeafPlan = planLeaf(path, leaf.shape, quantization);
  if (plan.kind === "codes") {
    const shape = isTransposed ? swapLast(leaf.shape) : leaf.shape;
    return inCodes(leaf, isTransposed, new CodesWriter(leaf.backend, path, shape, plan.format));
  }
  const stays = plan.kind === "kept" || isHeld(leaf, plan.dtype);
  return stays ? undefined : narrowed(leaf, plan.dtype, path);
}

/** Whether a leaf is in a dtype already; `f32` stands for all full floats. */
function isHeld({ dtype }: Tensor, wanted: string): boolean {
  return dtype === wanted || (wanted === "f32" && dtype === "f64");
}

/** Reads a bank's matrices expert by expert, and writes their codes. */
async function inCodes(
  matrices: Tensor,
  isTransposed: boolean,
  writer: CodesWriter,
): Promise<Leaf> {
  const [experts = 0, rows = 0, columns = 0] = matrices.shape;
  try {
    for (let expert = 0; expert < experts; expert++) {
      const one = matrices.backend.scope(() => {
        const matrix = wideSlice(matrices, [expert, 0, 0], [1, rows, columns]);
        return isTransposed ? transpose(matrix, { permutation: [0, 2, 1] }) : matrix;
      });
      const values = await one.read();
      one.dispose();
      writer.write(expert * rows * columns, values as Float32Array | Float64Array);
    }
    return writer.finish();
  } catch (error) {
    disposeLeaf(writer.finish());
    throw error;
  }
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

import {
  type AbortLike,
  type JsonDocument,
  type SafetensorsDtype,
  type SafetensorsMetadata,
  type TensorBinding,
  type TensorReader,
  requireMatch,
  storedBytes,
  streamPath,
} from "@moiety/checkpoints";
import type { Backend, FloatDType, Leaf } from "@moiety/core";
import { bindSource } from "./bind-source.ts";
import type { DecoderParams, DecoderState } from "./decoder/params.ts";
import type { ConfiguredModel } from "./from-config.ts";
import { type LoadProgress, ProgressMeter } from "./load-progress.ts";
import { leafAt } from "./quantize/bindings.ts";
import { type LeafTarget, leafTarget } from "./quantize/leaf-target.ts";
import { disposeLeaf, planLeaf } from "./quantize/leaves.ts";
import type { Quantization } from "./quantize/quantization.ts";
import { quantizedModel } from "./quantize/quantize.ts";
import { mapShapes } from "./tree.ts";

/** Where a model is loaded from: what `openCheckpoint` of `@moiety/checkpoints/node` gives. */
export interface ModelSource extends TensorReader {
  /** `config.json`. */
  readonly config: JsonDocument;
  /** `generation_config.json`, where there is one. */
  readonly generationConfig?: JsonDocument | undefined;
  readonly metadata?: SafetensorsMetadata | undefined;
  /** What errors call it. */
  readonly folder?: string | undefined;
}

/** A model with its parameters and state. */
export interface ReadyModel extends ConfiguredModel {
  readonly params: DecoderParams;
  readonly state: DecoderState;
}

/** Options of {@link loadModel}. */
export interface LoadOptions {
  readonly backend: Backend;
  /** Dtype of the parameters. `f32` unless given. */
  readonly dtype?: FloatDType | undefined;
  /**
   * How weights are held, where not as floats of `dtype`; those that are quantised become codes piece
   * by piece, so that they never stand in floats. As in the checkpoint unless given.
   */
  readonly quantize?: Quantization | undefined;
  /**
   * Ends the load between two pieces of a few megabytes: what was uploaded is freed, and the load
   * rejects with the signal's reason.
   */
  readonly signal?: AbortLike | undefined;
  /** Called after each piece. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** So many bytes may be on their way to a device at once. */
const UNSYNCED_BYTES = 1 << 25;

/**
 * Loads a model in Hugging Face's layout. Names and shapes of all tensors are compared with what the
 * configuration needs before any is read or allocated; then each leaf is filled on the backend, tensor
 * by tensor in pieces of a few megabytes, so that no more than that is held beside the backend's own.
 *
 * Weights in MXFP4 and in F8 with a factor for each block (`quantization_config` with `quant_method`
 * `mxfp4` or `fp8`) become values of `dtype`.
 * @throws UnsupportedError for a configuration that is not built; CheckpointMismatchError naming
 * tensors that are missing, unexpected or misshaped; FormatError for a damaged file; the signal's
 * reason
 *
 * @example
 * const checkpoint = await openCheckpoint("runs/today/model");
 * const { model, params, state } = await loadModel(checkpoint, { backend });
 */
export async function loadModel(source: ModelSource, options: LoadOptions): Promise<ReadyModel> {
  const { stored, bindings, report } = bindSource(source);
  requireMatch(report, source.folder ?? "the checkpoint");
  const { model, config } = quantizedModel(stored, options.quantize ?? {});
  const leaves = await uploadPaths(source, stored, bindings, options);
  const leaf = (path: string): unknown => leafAt(leaves, path);
  return {
    model,
    params: mapShapes(model.shapes, (_, path) => leaf(path)) as DecoderParams,
    state: mapShapes(model.stateShapes, (_, path) => leaf(`state.${path}`)) as DecoderState,
    config: {
      ...config,
      generation: source.generationConfig,
      metadata: source.metadata,
      stored: plainDtypes(source, bindings, options.quantize),
    },
  };
}

/** Uploads the leaves of all bindings; whatever fails, none is left behind. */
async function uploadPaths(
  source: ModelSource,
  { config }: ConfiguredModel,
  bindings: readonly TensorBinding[],
  options: LoadOptions,
): Promise<Map<string, Leaf>> {
  const { backend, dtype = "f32", quantize, onProgress } = options;
  const total = bindings
    .flatMap((binding) => binding.parts.map((part) => storedBytes(binding, part, source.tensors)))
    .reduce((sum, bytes) => sum + bytes, 0);
  const meter = new ProgressMeter(total, onProgress);
  const leaves = new Map<string, Leaf>();
  try {
    for (const binding of bindings) {
      const whole = isIntegral(source, binding);
      const target = leafTarget(binding, { backend, dtype, whole, config, quantize });
      leaves.set(binding.path, await uploadPath(source, target, options, meter));
    }
    return leaves;
  } catch (error) {
    for (const leaf of leaves.values()) disposeLeaf(leaf);
    throw error;
  }
}

async function uploadPath(
  source: ModelSource,
  target: LeafTarget,
  { backend, signal }: LoadOptions,
  meter: ProgressMeter,
): Promise<Leaf> {
  let unsynced = 0;
  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    target.write(offset, bytes);
    unsynced += bytes.length;
    if (unsynced < UNSYNCED_BYTES) return;
    // A device takes copies of what it is sent; without a pause they would pile up.
    unsynced = 0;
    await backend.sync();
  };
  const onRead = (name: string, bytes: number): void => meter.add(name, bytes);
  try {
    if (signal?.aborted) throw signal.reason;
    await streamPath(source, target.binding, target.dtype, { write }, { signal, onRead });
  } catch (error) {
    target.discard();
    throw error;
  }
  return target.finish();
}

/** The dtypes in which tensors were held, by name; what was codes and scales is held by its values. */
function plainDtypes(
  { tensors }: ModelSource,
  bindings: readonly TensorBinding[],
  quantize: Quantization = {},
): Map<string, SafetensorsDtype> {
  const dtypes = new Map([...tensors.values()].map(({ name, dtype }) => [name, dtype] as const));
  for (const { path, shape, storage, parts } of bindings) {
    // What is held otherwise now is written as it is held.
    const isChanged = planLeaf(path, shape, quantize).kind !== "kept";
    if (isChanged) for (const { name } of parts) dtypes.delete(name);
    if (isChanged) continue;
    if (storage === undefined) continue;
    for (const { name } of parts) {
      // BF16 has every value of MXFP4; products of F8 and a factor need F32.
      if (storage.kind === "mxfp4" && !tensors.has(name)) dtypes.set(name, "BF16");
      if (tensors.has(`${name}_scale_inv`)) dtypes.set(name, "F32");
    }
  }
  return dtypes;
}

/** Whether a leaf of the state holds whole numbers: tables of routers do. */
function isIntegral({ tensors }: ModelSource, { path, parts: [first] }: TensorBinding): boolean {
  if (!path.startsWith("state.")) return false;
  return /^[IU]\d/.test(tensors.get(first?.name ?? "")?.dtype ?? "");
}

import {
  type JsonDocument,
  type SafetensorsMetadata,
  type TensorBinding,
  type TensorReader,
  checkTensors,
  readPath,
  requireMatch,
} from "@moiety/checkpoints";
import type { Backend, FloatDType, Tensor } from "@moiety/core";
import { bindModel } from "./bindings.ts";
import type { DecoderParams, DecoderState } from "./decoder/params.ts";
import { type ConfiguredModel, modelFromConfig } from "./from-config.ts";
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
}

/**
 * Loads a model in Hugging Face's layout. Names and shapes of all tensors are compared with what the
 * configuration needs before any is read; leaves are then read and uploaded one after another.
 * @throws UnsupportedError for a configuration that is not built; CheckpointMismatchError naming
 * tensors that are missing, unexpected or misshaped
 *
 * @example
 * const checkpoint = await openCheckpoint("runs/today/model");
 * const { model, params, state } = await loadModel(checkpoint, { backend });
 */
export async function loadModel(source: ModelSource, options: LoadOptions): Promise<ReadyModel> {
  const { backend, dtype = "f32" } = options;
  const { model, config } = modelFromConfig(source.config);
  const bindings = bindModel({ model, config });
  const report = checkTensors(bindings, source.tensors, ignored(model, config));
  requireMatch(report, source.folder ?? "the checkpoint");
  const tensors = new Map<string, Tensor>();
  try {
    for (const binding of bindings) {
      const kept = isIntegral(source, binding) ? "i32" : dtype;
      const { data, shape } = await readPath(source, binding, kept);
      tensors.set(binding.path, backend.tensor(data, { shape, dtype: kept }));
    }
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
  const leaf = (path: string): Tensor | undefined => tensors.get(path);
  return {
    model,
    params: mapShapes(model.shapes, (_, path) => leaf(path)) as DecoderParams,
    state: mapShapes(model.stateShapes, (_, path) => leaf(`state.${path}`)) as DecoderState,
    config: {
      ...config,
      generation: source.generationConfig,
      metadata: source.metadata,
      stored: new Map([...source.tensors.values()].map(({ name, dtype: kept }) => [name, kept])),
    },
  };
}

/** Whether a leaf of the state holds whole numbers: tables of routers do. */
function isIntegral({ tensors }: ModelSource, { path, parts: [first] }: TensorBinding): boolean {
  if (!path.startsWith("state.")) return false;
  return /^[IU]\d/.test(tensors.get(first?.name ?? "")?.dtype ?? "");
}

function ignored(
  { shapes }: ConfiguredModel["model"],
  { family }: ConfiguredModel["config"],
): string[] {
  // Some files hold the tied projection once more.
  return [...(family.decoder?.ignore ?? []), ...(shapes.head ? [] : ["lm_head.weight"])];
}

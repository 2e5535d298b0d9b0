import { type MappingReport, type TensorBinding, checkTensors } from "@moiety/checkpoints";
import { bindModel, networksOf } from "./bindings.ts";
import { type ConfiguredModel, modelFromConfig } from "./from-config.ts";
import { ignoredTensors } from "./ignored.ts";
import { requirePossibleExperts, requirePossibleLayers } from "./load-limits.ts";
import { storageOf } from "./load-storage.ts";
import type { ModelSource } from "./load.ts";

/** The model of a checkpoint, and how its tensors fit. */
export interface BoundModel {
  /** The model as the checkpoint holds it. */
  readonly stored: ConfiguredModel;
  /** Which tensors make up each leaf. */
  readonly bindings: readonly TensorBinding[];
  /** How the tensors differ from what the configuration needs. */
  readonly report: MappingReport;
}

/**
 * Builds the model of a checkpoint's configuration and compares names and shapes of all tensors with
 * what it needs. Nothing is read or allocated.
 * @throws UnsupportedError, ConfigError naming the key
 */
export function bindSource(source: ModelSource): BoundModel {
  const { document, storage } = storageOf(source.config);
  requirePossibleLayers(document.value, source);
  const stored = modelFromConfig(document);
  const { decoder } = stored.config;
  requirePossibleExperts(decoder, (layer) => networksOf(decoder, layer), source);
  const bindings = bindModel(stored, storage);
  const report = checkTensors(bindings, source.tensors, ignoredTensors(stored));
  return { stored, bindings, report };
}

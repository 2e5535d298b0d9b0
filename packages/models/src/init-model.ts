import type { JsonDocument, JsonObject } from "@moiety/checkpoints";
import type { InitOptions, RandomKey } from "@moiety/core";
import { modelFromConfig } from "./from-config.ts";
import type { ReadyModel } from "./load.ts";

/**
 * A new model with random parameters.
 * @throws ConfigError, UnsupportedError naming the key
 *
 * @example
 * const config = { model_type: "olmoe", vocab_size: 256, hidden_size: 96, num_hidden_layers: 3 };
 * const { model, params, state } = initModel(config, randomKey(1), { backend });
 */
export function initModel(
  config: JsonDocument | JsonObject,
  key: RandomKey,
  options: InitOptions,
): ReadyModel {
  const configured = modelFromConfig(config);
  return { ...configured, ...configured.model.init(key, options) };
}

import type { JsonObject, TensorReader } from "@moiety/checkpoints";
import { ConfigError } from "@moiety/core";
import type { DecoderConfig } from "./decoder/config.ts";
import { familyOf } from "./families/index.ts";
import { readerOf } from "./family-reader.ts";

/**
 * Refuses a configuration with more layers than the checkpoint has tensors: each has some of its own.
 * Without this, a wrong number would be built before anything is compared.
 * @throws ConfigError
 */
export function requirePossibleLayers(values: JsonObject, { tensors }: TensorReader): void {
  const key = "num_hidden_layers";
  const layers = readerOf(familyOf(values["model_type"]), values).count(key);
  if (layers > tensors.size) {
    throw tooMany(key, layers, `but there are only ${tensors.size} tensors`);
  }
}

/**
 * Refuses a configuration with more experts than any tensor has rows: routers have one for each.
 * @throws ConfigError
 */
export function requirePossibleExperts(
  { layers }: DecoderConfig,
  expertsOf: (layer: number) => number | undefined,
  { tensors }: TensorReader,
): void {
  let most = 1;
  for (const { shape } of tensors.values()) {
    for (const dimension of shape) most = Math.max(most, dimension);
  }
  for (const index of layers.keys()) {
    const experts = expertsOf(index) ?? 0;
    if (experts > most) {
      throw tooMany(
        `the number of experts of layer ${index}`,
        experts,
        `but no tensor has more than ${most} rows`,
      );
    }
  }
}

function tooMany(key: string, value: number, what: string): ConfigError {
  return new ConfigError(
    `config.json: ${key} is ${value}, ${what}; check that configuration and weights belong together`,
    key,
    value,
  );
}

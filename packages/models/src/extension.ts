import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { ConfigError } from "@moiety/core";
import type { DecoderConfig, LossConfig } from "./decoder/config.ts";
import { routingLoss } from "./decoder/losses.ts";

/** Key of `config.json` under which stands what a family's own layout has no place for. */
const EXTENSION_KEY = "moiety";

/** What a model has beyond its family. */
export interface Extension {
  /** A bias, in the router's state, that chooses experts and never weighs them (DeepSeek-V3). */
  readonly selectionBias: boolean;
  /** Losses instead of the family's own. */
  readonly losses?: readonly LossConfig[] | undefined;
}

/** Reads the extension of a `config.json`. @throws ConfigError for what is not known */
export function readExtension(values: JsonObject): Extension {
  const extension = values[EXTENSION_KEY] ?? {};
  if (!isObject(extension)) throw refuse("", extension, "an object");
  const { selection_bias: bias = false, losses, ...unknown } = extension;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw refuse(`.${stranger}`, unknown[stranger], "absent: this version does not know it");
  }
  if (typeof bias !== "boolean") throw refuse(".selection_bias", bias, "true or false");
  if (losses === undefined) return { selectionBias: bias };
  if (!Array.isArray(losses)) throw refuse(".losses", losses, "a list");
  const read = (losses as readonly JsonValue[]).map((loss): LossConfig => {
    if (!isObject(loss)) throw refuse(".losses", loss, "a list of objects");
    // Making the loss checks what data cannot say by its type.
    const config = loss as unknown as LossConfig;
    routingLoss(config);
    return config;
  });
  return { selectionBias: bias, losses: read };
}

/** A decoder with its extension: every router selects with a bias, other losses. */
export function extend(config: DecoderConfig, extension: Extension): DecoderConfig {
  const { selectionBias, losses = config.losses } = extension;
  if (!selectionBias) return { ...config, losses };
  const layers = config.layers.map((layer) => {
    if (!("moe" in layer)) return layer;
    const { router } = layer.moe;
    return { moe: { ...layer.moe, router: { ...router, spec: { ...router.spec, bias: true } } } };
  });
  return { ...config, losses, layers };
}

/** What other loaders would make of a model with this extension, a line each. */
export function extensionWarnings(extension: Extension, modelType: string): string[] {
  const warnings: string[] = [];
  if (extension.selectionBias) {
    warnings.push(
      `the routers select with a bias, which ${modelType} has no place for: it stands in tensors of ` +
        `its own and under "${EXTENSION_KEY}" in config.json, and other loaders, which do not read ` +
        "it, would give other logits",
    );
  }
  if (extension.losses !== undefined) {
    warnings.push(
      `the balance losses are not those of ${modelType}: they stand under "${EXTENSION_KEY}" in ` +
        "config.json, and other loaders would train with another loss",
    );
  }
  return warnings;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuse(key: string, value: JsonValue | undefined, wanted: string): ConfigError {
  const path = `${EXTENSION_KEY}${key}`;
  return new ConfigError(
    `config.json: ${path} is ${JSON.stringify(value)}, but must be ${wanted}`,
    path,
    value,
  );
}

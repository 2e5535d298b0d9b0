import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { ConfigError } from "@moiety/core";
import type { DecoderConfig, LossConfig, RouterConfig } from "./decoder/config.ts";
import { routingLoss } from "./decoder/losses.ts";
import { isStaged } from "./decoder/router.ts";
import { show } from "./show.ts";

/** Key of `config.json` under which stands what a family's own layout has no place for. */
const EXTENSION_KEY = "moiety";

/** What a model has beyond its family. */
export interface Extension {
  /** A bias, in the router's state, that chooses experts and never weighs them (DeepSeek-V3). */
  readonly selectionBias: boolean;
  /** A router of the catalogue of `@moiety/routers`, by its name, instead of the family's own. */
  readonly router?: string | undefined;
  /** Losses instead of the family's own. */
  readonly losses?: readonly LossConfig[] | undefined;
}

/** Reads the extension of a `config.json`. @throws ConfigError for what is not known */
export function readExtension(values: JsonObject): Extension {
  const extension = values[EXTENSION_KEY] ?? {};
  if (!isObject(extension)) throw refuse("", extension, "an object");
  const { selection_bias: bias = false, router, losses, ...unknown } = extension;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw refuse(`.${stranger}`, unknown[stranger], "absent: this version does not know it");
  }
  if (typeof bias !== "boolean") throw refuse(".selection_bias", bias, "true or false");
  if (router !== undefined && typeof router !== "string") {
    throw refuse(".router", router, "the name of a router");
  }
  const read = { selectionBias: bias, ...(router !== undefined && { router }) };
  if (losses === undefined) return read;
  if (!Array.isArray(losses)) throw refuse(".losses", losses, "a list");
  const configs = (losses as readonly JsonValue[]).map((loss): LossConfig => {
    if (!isObject(loss)) throw refuse(".losses", loss, "a list of objects");
    // Making the loss checks what data cannot say by its type.
    const config = loss as unknown as LossConfig;
    routingLoss(config);
    return config;
  });
  return { ...read, losses: configs };
}

/** A decoder with its extension: another router, one that selects with a bias, other losses. */
export function extend(config: DecoderConfig, extension: Extension): DecoderConfig {
  const { selectionBias, router: name, losses = config.losses } = extension;
  const layers = config.layers.map((layer) => {
    if (!("moe" in layer)) return layer;
    const own = layer.moe.router;
    const router = name === undefined ? own : fromCatalogue(name, own, config.vocabSize);
    const chosen = selectionBias ? withSelectionBias(router) : router;
    return { ...layer, moe: { ...layer.moe, router: chosen } };
  });
  return { ...config, losses, layers };
}

/** A router of the catalogue with as many experts and choices as the family's own. */
function fromCatalogue(name: string, own: RouterConfig, vocabSize: number): RouterConfig {
  if (!isStaged(own))
    throw refuse(".router", name, `absent: the family has the router ${own.kind}`);
  const { experts, topK } = own.spec;
  return { kind: "catalogue", name, experts, topK, vocabSize };
}

function withSelectionBias(router: RouterConfig): RouterConfig {
  if (isStaged(router)) return { ...router, spec: { ...router.spec, bias: true } };
  throw refuse(".selection_bias", true, `absent beside a router of another kind`);
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
  if (extension.router !== undefined) {
    warnings.push(
      `the router is ${extension.router}, not that of ${modelType}: it stands under ` +
        `"${EXTENSION_KEY}" in config.json, what it keeps in tensors of its own, and other loaders ` +
        "would route otherwise",
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
    `config.json: ${path} is ${show(value)}, but must be ${wanted}`,
    path,
    value,
  );
}

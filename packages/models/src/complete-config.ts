import { type JsonDocument, type JsonObject, jsonDocument } from "@moiety/checkpoints";
import { UnsupportedError } from "@moiety/core";
import { ConfigReader } from "./config-reader.ts";
import { familyOf } from "./families/index.ts";

/** The two configuration files of a model folder. */
export interface ConfigDocuments {
  /** `config.json`. */
  readonly document: JsonDocument;
  /** `generation_config.json`. */
  readonly generation: JsonDocument;
}

/** The release whose files these are like. */
const TRANSFORMERS_VERSION = "4.57.6";

const SPECIAL_TOKENS = ["bos_token_id", "eos_token_id", "pad_token_id"] as const;

/**
 * The configuration files of a new model, with every key that Hugging Face transformers writes.
 * `values` needs `model_type` and gives whatever is to differ from the family's defaults; special
 * tokens are null unless given, since the defaults belong to a tokenizer.
 * @throws UnsupportedError for a family of which no whole models are built
 *
 * @example
 * completeConfig({ model_type: "olmoe", vocab_size: 256, hidden_size: 96, num_hidden_layers: 3 });
 */
export function completeConfig(values: JsonObject): ConfigDocuments {
  const family = familyOf(values["model_type"]);
  if (!family.decoder) {
    throw new UnsupportedError(
      `of ${family.modelType} only the block is built, not whole models`,
      `${family.modelType} models`,
    );
  }
  const { architecture, floats, spelledOut } = family.decoder;
  const tokens = SPECIAL_TOKENS.filter((key) => Object.hasOwn(family.defaults, key));
  const chosen: JsonObject = {
    ...family.defaults,
    ...Object.fromEntries(tokens.map((key) => [key, null])),
    output_router_logits: true,
    ...values,
    architectures: [architecture],
    dtype: "float32",
    transformers_version: TRANSFORMERS_VERSION,
  };
  const complete = { ...chosen, ...spelledOut?.(new ConfigReader(chosen, family.defaults)) };
  const generation = {
    _from_model_config: true,
    ...Object.fromEntries(SPECIAL_TOKENS.flatMap((key) => tokenEntry(complete, key))),
    transformers_version: TRANSFORMERS_VERSION,
  };
  return { document: jsonDocument(complete, floats), generation: jsonDocument(generation) };
}

/** Whether a value is a document and not the plain values of a configuration. */
export function isDocument(json: JsonDocument | JsonObject): json is JsonDocument {
  return json["floats"] instanceof Set;
}

function tokenEntry(config: JsonObject, key: string): [string, JsonObject[string]][] {
  const token = config[key] ?? null;
  return token === null && key === "eos_token_id" ? [] : [[key, token]];
}

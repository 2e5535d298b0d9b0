import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { isObject } from "./folder-json.ts";

/** Special tokens by the names of their keys: `bos_token`, `eos_token`, … */
export type SpecialTokens = Readonly<Record<string, string>>;

/** The special tokens that a `tokenizer_config.json` names, as text or as `{ content }`. */
export function specialTokens(config: JsonObject): SpecialTokens {
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]): [string, string][] => {
      const text = key.endsWith("_token") ? contentOf(value) : undefined;
      return text === undefined ? [] : [[key, text]];
    }),
  );
}

/** The text of a token that stands as text or as `{ content }`. */
export function contentOf(value: JsonValue | undefined): string | undefined {
  const content = isObject(value) ? value["content"] : value;
  return typeof content === "string" ? content : undefined;
}

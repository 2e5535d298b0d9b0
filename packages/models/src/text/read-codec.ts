import type { FileFolder, JsonObject, JsonValue } from "@moiety/checkpoints";
import { ConfigError } from "@moiety/core";
import { BYTE_VOCABULARY, byteCodec } from "./byte-codec.ts";
import { readChatTemplate } from "./chat-template.ts";
import type { TextCodec } from "./codec.ts";
import { isObject, readJson } from "./folder-json.ts";
import { specialTokens } from "./special-tokens.ts";
import { tokenizerCodec } from "./tokenizer-codec.ts";

const TOKENIZER = "tokenizer.json";

/**
 * Reads what a folder's tokens mean: its `tokenizer.json` with `tokenizer_config.json`, its chat
 * template, and the tokens that end an answer (`generation_config.json`, else `config.json`, else the
 * tokenizer's). A model of 256 tokens without a tokenizer speaks bytes of UTF-8.
 *
 * @param config `config.json` of the folder.
 * @throws ConfigError where there is no tokenizer; FormatError, UnsupportedError naming the file for
 * one that cannot be read
 *
 * @example
 * const folder = diskFolder("path/to/olmoe");
 * const checkpoint = await openFolder(folder);
 * const codec = await readTextCodec(folder, checkpoint.config.value);
 * const ids = codec.chat([{ role: "user", content: "Hello" }]) ?? codec.encode("Hello");
 */
export async function readTextCodec(folder: FileFolder, config: JsonObject): Promise<TextCodec> {
  const generation = (await readJson(folder, "generation_config.json")) ?? {};
  const vocabulary = valueOf(config, "vocab_size");
  const size = typeof vocabulary === "number" ? vocabulary : Number.POSITIVE_INFINITY;
  const stop = (
    tokensOf(generation["eos_token_id"]) ?? tokensOf(valueOf(config, "eos_token_id"))
  )?.filter((id) => id < size);
  const json = await readJson(folder, TOKENIZER);
  if (json !== undefined) {
    const own = (await readJson(folder, "tokenizer_config.json")) ?? {};
    const chat = await readChatTemplate(folder, own, specialTokens(own));
    return tokenizerCodec({ json, name: folder.nameOf(TOKENIZER), config: own, chat, stop });
  }
  if (vocabulary === BYTE_VOCABULARY) return byteCodec(stop ?? []);
  throw new ConfigError(
    `${folder.name} has no ${TOKENIZER}, and its ${String(vocabulary)} tokens are not bytes; ` +
      "give the prompt as token ids",
    TOKENIZER,
    undefined,
  );
}

/** A value of a configuration, or of the section of its language model. */
function valueOf(config: JsonObject, key: string): JsonValue {
  const section = config["text_config"];
  return config[key] ?? (isObject(section) ? section[key] : undefined) ?? null;
}

function tokensOf(value: JsonValue | undefined): number[] | undefined {
  const list = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
  const ids = list.filter((id) => typeof id === "number" && Number.isSafeInteger(id) && id >= 0);
  return ids.length === 0 ? undefined : (ids as number[]);
}

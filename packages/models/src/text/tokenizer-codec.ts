import { Tokenizer } from "@huggingface/tokenizers";
import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { ConfigError, FormatError, UnsupportedError } from "@moiety/core";
import { type ChatWriter, reasonOf } from "./chat-template.ts";
import type { TextCodec } from "./codec.ts";
import { contentOf, specialTokens } from "./special-tokens.ts";
import { textStream } from "./stream.ts";

/** What a codec is made of. */
export interface TokenizerParts {
  /** `tokenizer.json`. */
  readonly json: JsonObject;
  /** What errors call it. */
  readonly name: string;
  /** `tokenizer_config.json`, empty where there is none. */
  readonly config: JsonObject;
  readonly chat: ChatWriter | undefined;
  /** Tokens that end an answer; the tokenizer's own end token where it is `undefined`. */
  readonly stop: readonly number[] | undefined;
}

/** What of a tokenizer is used. The library's declarations do not resolve under Node's rules. */
interface FolderTokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): {
    readonly ids: readonly (number | undefined)[];
  };
  decode(
    ids: readonly number[],
    options: {
      readonly skip_special_tokens: boolean;
      readonly clean_up_tokenization_spaces: boolean;
    },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

/**
 * A codec of a `tokenizer.json`.
 * @throws FormatError, UnsupportedError naming the file
 */
export function tokenizerCodec({ json, name, config, chat, stop }: TokenizerParts): TextCodec {
  const tokenizer = makeTokenizer(json, config, name);
  const encode = (text: string, around: boolean): number[] => {
    const { ids } = tokenizer.encode(text, { add_special_tokens: around });
    if (ids.every((id) => id !== undefined)) return [...ids];
    throw new ConfigError(
      `the tokenizer ${name} has no token for a part of the text, and none for unknown text`,
      "text",
      text,
    );
  };
  const decode = (ids: readonly number[]): string => {
    // Vocabularies of models are often padded beyond that of the tokenizer.
    const known = ids.filter((id) => tokenizer.id_to_token(id) !== undefined);
    if (known.length === 0) return "";
    return tokenizer.decode(known, {
      skip_special_tokens: true,
      clean_up_tokenization_spaces: false,
    });
  };
  const end = specialTokens(config)["eos_token"];
  const ending = end === undefined ? undefined : tokenizer.token_to_id(end);
  return {
    source: "tokenizer.json",
    encode: (text) => encode(text, true),
    decode,
    stream: (prompt) => textStream(decode, prompt),
    chat: (messages) => chat && encode(chat(messages), false),
    stop: stop ?? (ending === undefined ? [] : [ending]),
  };
}

function makeTokenizer(json: JsonObject, config: JsonObject, name: string): FolderTokenizer {
  try {
    return new Tokenizer(completeJson(json), plainConfig(config)) as FolderTokenizer;
  } catch (cause) {
    const why = `${name}: it is no tokenizer that can be read (${reasonOf(cause)})`;
    if (/unknown .*type/i.test(reasonOf(cause))) {
      throw new UnsupportedError(why, "tokenizer", { cause });
    }
    throw new FormatError(why, 0, { cause });
  }
}

/** With the keys that old files lack. */
function completeJson(json: JsonObject): JsonObject {
  const absent = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...absent, added_tokens: [], ...json };
}

/** With special tokens as text, which the tokenizer takes alone. */
function plainConfig(config: JsonObject): JsonObject {
  const further = config["additional_special_tokens"];
  const list = Array.isArray(further) ? (further as readonly JsonValue[]) : [];
  return {
    ...config,
    ...specialTokens(config),
    additional_special_tokens: list.flatMap((token) => contentOf(token) ?? []),
  };
}

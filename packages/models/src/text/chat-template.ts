import { Template } from "@huggingface/jinja";
import type { FileFolder, JsonObject, JsonValue } from "@moiety/checkpoints";
import { ConfigError, FormatError } from "@moiety/core";
import type { ChatMessage } from "./codec.ts";
import { isObject, readText } from "./folder-json.ts";
import type { SpecialTokens } from "./special-tokens.ts";

/** Writes a conversation as the text that a model was trained on. */
export type ChatWriter = (messages: readonly ChatMessage[]) => string;

const TEMPLATE_FILE = "chat_template.jinja";

/**
 * The chat template of a folder: `chat_template.jinja`, else `chat_template` of its
 * `tokenizer_config.json`, of several the one called `default`. `undefined` where there is none.
 * @throws FormatError for a template that cannot be read
 */
export async function readChatTemplate(
  folder: FileFolder,
  config: JsonObject,
  tokens: SpecialTokens,
): Promise<ChatWriter | undefined> {
  const own = await readText(folder, TEMPLATE_FILE);
  const name = folder.nameOf(own === undefined ? "tokenizer_config.json" : TEMPLATE_FILE);
  const source = own ?? templateOf(config["chat_template"]);
  if (source === undefined) return undefined;
  const template = parse(source, name);
  return (messages) => {
    try {
      return template.render({ ...tokens, messages, add_generation_prompt: true });
    } catch (cause) {
      throw new ConfigError(
        `${name}: the chat template refuses these messages (${reasonOf(cause)})`,
        "messages",
        messages,
        { cause },
      );
    }
  };
}

function parse(source: string, name: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new FormatError(
      `${name}: the chat template is no template that can be read (${reasonOf(cause)})`,
      0,
      { cause },
    );
  }
}

function templateOf(value: JsonValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = (value as readonly JsonValue[]).filter(isObject);
  const chosen = named.find(({ name }) => name === "default");
  return typeof chosen?.["template"] === "string" ? chosen["template"] : undefined;
}

/** What went wrong, in a line. */
export function reasonOf(cause: unknown): string {
  const [line = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
  return line;
}

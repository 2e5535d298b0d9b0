import { ConfigError } from "@moiety/core";
import { type TextCodec, readTextCodec } from "@moiety/models/text";
import type { OpenModel } from "../open-model.ts";

/** What of a command line says what to continue. */
export interface PromptOptions {
  readonly chat?: boolean | undefined;
  readonly system?: string | undefined;
  readonly ids?: readonly number[] | undefined;
}

/** What is continued, and how tokens are shown. */
export interface Prompt {
  readonly ids: readonly number[];
  /** Absent where the folder has no tokenizer, and ids were given. */
  readonly codec: TextCodec | undefined;
}

/** Makes the prompt. @throws ConfigError where there is none, or two, or no tokenizer or template */
export async function readPrompt(
  { folder, config }: OpenModel,
  text: string | undefined,
  options: PromptOptions,
): Promise<Prompt> {
  const { ids, chat = false, system } = options;
  if ((text === undefined) === (ids === undefined)) {
    throw new ConfigError("give either a prompt or --ids", "prompt", text);
  }
  if (ids !== undefined) {
    if (chat || system !== undefined) {
      throw new ConfigError("--chat and --system need a prompt of text, not --ids", "ids", ids);
    }
    return { ids, codec: await codecIfAny(() => readTextCodec(folder, config.document.value)) };
  }
  const codec = await readTextCodec(folder, config.document.value);
  const prompt = text ?? "";
  if (!chat && system === undefined) return { ids: codec.encode(prompt), codec };
  const before = system === undefined ? [] : [{ role: "system", content: system }];
  const written = codec.chat([...before, { role: "user", content: prompt }]);
  if (written !== undefined) return { ids: written, codec };
  throw new ConfigError(
    `${folder.name} has no chat template; leave --chat and --system out`,
    "chat",
    chat,
  );
}

/** Ids can be continued without a tokenizer, but not with one that is broken. */
async function codecIfAny(read: () => Promise<TextCodec>): Promise<TextCodec | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ConfigError && error.key === "tokenizer.json") return undefined;
    throw error;
  }
}

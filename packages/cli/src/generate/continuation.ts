import { type GenerateOptions, generate } from "@moiety/models";
import type { OpenModel } from "../open-model.ts";
import { Interrupted } from "../surroundings.ts";
import type { Prompt } from "./prompt.ts";

/** Tokens and the time that they took. */
export interface Rate {
  readonly tokens: number;
  readonly seconds: number;
  /** `null` where there was nothing to measure. */
  readonly tokensPerSecond: number | null;
}

/** What a run gave. */
export interface Continuation {
  readonly ids: readonly number[];
  /** Without special tokens; absent where the folder has no tokenizer. */
  readonly text: string | undefined;
  /** Why it ended. */
  readonly end: "stop" | "length" | "interrupted";
  /** The prompt, up to the first new token. */
  readonly prefill: Rate;
  /** The tokens after the first. */
  readonly decode: Rate;
}

const MILLISECONDS = 1000;

/**
 * Continues a prompt.
 * @param show takes the text, or the ids where there is no tokenizer, as it comes
 */
export async function continuePrompt(
  { causal, params, state }: OpenModel,
  { ids: prompt, codec }: Prompt,
  options: Omit<GenerateOptions, "stop">,
  now: () => number,
  show: (text: string) => void,
): Promise<Continuation> {
  const stream = codec?.stream(prompt);
  const stop = codec?.stop ?? [];
  const ids: number[] = [];
  let text = "";
  const tell = (part: string): void => {
    text += part;
    if (part !== "") show(part);
  };
  let end: Continuation["end"] = "length";
  const begin = now();
  let [first, last] = [begin, begin];
  try {
    for await (const id of generate(causal, params, state, prompt, { ...options, stop })) {
      last = now();
      if (ids.length === 0) first = last;
      ids.push(id);
      if (stop.includes(id)) end = "stop";
      else tell(stream ? stream.push(id) : `${id} `);
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    end = "interrupted";
  }
  tell(stream?.end() ?? "");
  return {
    ids,
    text: stream && text,
    end,
    prefill: rateOf(ids.length === 0 ? 0 : prompt.length, first - begin),
    decode: rateOf(Math.max(0, ids.length - 1), last - first),
  };
}

function rateOf(tokens: number, milliseconds: number): Rate {
  const seconds = milliseconds / MILLISECONDS;
  const isMeasured = tokens > 0 && seconds > 0;
  return { tokens, seconds, tokensPerSecond: isMeasured ? tokens / seconds : null };
}

/** Both rates in a line. */
export function ratesText({ prefill, decode }: Pick<Continuation, "prefill" | "decode">): string {
  const text = (name: string, { tokens, tokensPerSecond }: Rate): string => {
    const rate = tokensPerSecond === null ? "" : ` at ${tokensPerSecond.toFixed(1)} tokens/s`;
    return `${name} ${tokens} tokens${rate}`;
  };
  return `${text("prefill", prefill)}, ${text("decode", decode)}`;
}

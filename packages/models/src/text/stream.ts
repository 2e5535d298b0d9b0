import type { TextStream } from "./codec.ts";

/** What stands where bytes are no character, or not one yet. */
const REPLACEMENT = "\uFFFD";

/** More tokens than one character of UTF-8 has bytes do not wait for each other. */
const MOST_WAITING = 8;

/** Prompt tokens that the first new one is decoded behind. */
const CONTEXT = 8;

/**
 * A stream over `decode`. New tokens are decoded behind those before, since some decoders treat the
 * first token of a text differently.
 */
export function textStream(
  decode: (ids: readonly number[]) => string,
  prompt: readonly number[] = [],
): TextStream {
  let before = prompt.slice(-CONTEXT);
  let waiting: number[] = [];
  const text = (): string => decode([...before, ...waiting]).slice(decode(before).length);
  return {
    push(id) {
      waiting.push(id);
      const found = text();
      const isUnfinished = found === "" || found.endsWith(REPLACEMENT);
      if (isUnfinished && waiting.length < MOST_WAITING) return "";
      // Behind half a character the next tokens would be taken for its other half.
      before = found.endsWith(REPLACEMENT) ? [] : waiting;
      waiting = [];
      return found;
    },
    end() {
      const rest = waiting.length === 0 ? "" : text();
      before = [];
      waiting = [];
      return rest;
    },
  };
}

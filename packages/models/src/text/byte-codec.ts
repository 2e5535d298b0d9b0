import type { TextCodec } from "./codec.ts";
import { textStream } from "./stream.ts";

/** Tokens that are bytes have this many. */
export const BYTE_VOCABULARY = 256;

/** A codec for models whose tokens are the bytes of UTF-8. */
export function byteCodec(stop: readonly number[]): TextCodec {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const decode = (ids: readonly number[]): string => decoder.decode(Uint8Array.from(ids));
  return {
    source: "bytes",
    encode: (text) => [...encoder.encode(text)],
    decode,
    stream: (prompt) => textStream(decode, prompt),
    chat: () => undefined,
    stop,
  };
}

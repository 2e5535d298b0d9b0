/**
 * Text for models: tokenizers and chat templates of model folders.
 * @packageDocumentation
 */
export type { ChatMessage, TextCodec, TextStream } from "./text/codec.ts";
export { readTextCodec } from "./text/read-codec.ts";

import { readFile } from "node:fs/promises";
import { ConfigError, type Tensor } from "@moiety/core";
import { readTextCodec } from "@moiety/models/text";
import type { OpenModel } from "../open-model.ts";

/** Tokens of a window: enough context that most tokens are predicted as in a long text. */
const WINDOW = 256;

/**
 * A text file as windows of tokens `[B, T]`, all of one length: the rest of the last is left out. A
 * text that is shorter than one is a window of its own.
 * @throws ConfigError for a file that cannot be read, and one without text
 */
export async function textWindows(
  { folder, config, opened }: OpenModel,
  path: string,
): Promise<Tensor> {
  const codec = await readTextCodec(folder, config.document.value);
  const ids = codec.encode(await readText(path));
  if (ids.length === 0) throw new ConfigError(`${path} holds no text`, "text", path);
  const width = Math.min(WINDOW, ids.length);
  const count = Math.floor(ids.length / width);
  return opened.backend.tensor(Int32Array.from(ids.slice(0, count * width)), {
    shape: [count, width],
  });
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`cannot read ${path} (${why}); check --text`, "text", path, { cause });
  }
}

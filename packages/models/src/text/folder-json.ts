import { type FileFolder, type JsonObject, parseJsonDocument } from "@moiety/checkpoints";
import { FormatError } from "@moiety/core";

/** A text file of a folder, whole; `undefined` where there is none. @throws FormatError */
export async function readText(folder: FileFolder, file: string): Promise<string | undefined> {
  const bytes = await readBytes(folder, file);
  return bytes && new TextDecoder().decode(bytes);
}

/** A JSON file of a folder that holds an object; `undefined` where there is none. @throws FormatError */
export async function readJson(folder: FileFolder, file: string): Promise<JsonObject | undefined> {
  const bytes = await readBytes(folder, file);
  if (bytes === undefined) return undefined;
  // The engine's own reader is many times faster, and vocabularies are large; the other one says
  // where a fault is.
  const value = parsed(bytes);
  return isObject(value) ? value : parseJsonDocument(bytes, folder.nameOf(file)).value;
}

/** Whether a JSON value is an object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

async function readBytes(folder: FileFolder, file: string): Promise<Uint8Array | undefined> {
  const source = await folder.open(file);
  if (source === undefined) return undefined;
  try {
    const bytes = await source.read(0, source.size);
    if (bytes.length === source.size) return bytes;
    throw new FormatError(
      `${source.name}: has ${source.size} bytes, but ${bytes.length} were read; it changed while ` +
        "it was open",
      bytes.length,
    );
  } finally {
    await source.close();
  }
}

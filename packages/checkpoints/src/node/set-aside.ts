import { randomUUID } from "node:crypto";
import { copyFile, link, readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { INDEX, SINGLE, isWeights } from "../folder/split-shards.ts";
import { parseWeightMap } from "../folder/weight-map.ts";
import { jsonDocument, parseJsonDocument } from "../json/document.ts";
import { formatJsonDocument } from "../json/format.ts";
import { stageFile } from "./stage.ts";

/**
 * Gives shards whose names are about to be taken a second name, and lets the index of the folder go by
 * it: what stands there is whole until another index takes its place.
 *
 * Throws `ConfigError` for a folder that cannot be written.
 */
export async function setAside(folder: string, taken: readonly string[]): Promise<void> {
  // Where there is a single file, no reader asks the index.
  if (await exists(join(folder, SINGLE))) return;
  const index = await readIndex(join(folder, INDEX));
  if (index === undefined) return;
  const names = new Map<string, string>();
  for (const file of new Set(index.files.values())) {
    const path = join(folder, file);
    if (!taken.includes(file) || !(await exists(path))) continue;
    const name = file.replace(/(?=\.safetensors$)/, `.old-${randomUUID()}`);
    names.set(file, name);
    await secondName(path, join(folder, name));
  }
  if (names.size === 0) return;
  const map = [...index.files].map(([tensor, file]) => [tensor, names.get(file) ?? file]);
  const text = formatJsonDocument(
    jsonDocument({
      ...index.others,
      weight_map: Object.fromEntries(map) as Record<string, string>,
    }),
  );
  const staged = await stageFile(join(folder, INDEX), [new TextEncoder().encode(text)]);
  await staged.commit();
}

/** Removes what saves have left of other weights than these files. */
export async function removeOthers(folder: string, kept: readonly string[]): Promise<void> {
  const others = (await readdir(folder)).filter((file) => isWeights(file) && !kept.includes(file));
  // The single file and the index first: without them nobody asks for shards.
  others.sort((a, b) => Number(b === SINGLE || b === INDEX) - Number(a === SINGLE || a === INDEX));
  for (const file of others) await rm(join(folder, file), { force: true });
}

/** The index of a folder; `undefined` where there is none that could be read. */
async function readIndex(path: string) {
  try {
    const bytes = await readFile(path);
    const { weight_map: _, ...others } = parseJsonDocument(bytes, path).value;
    const files = new Map([...parseWeightMap(bytes, path)].map(([name, { file }]) => [name, file]));
    return { files, others };
  } catch {
    return undefined;
  }
}

/** A second name for the same bytes, or a copy where the file system has no second names. */
async function secondName(path: string, other: string): Promise<void> {
  await link(path, other).catch(() => copyFile(path, other));
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

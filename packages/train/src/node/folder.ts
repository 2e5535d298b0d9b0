import { randomUUID } from "node:crypto";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";

/** Name of the manifest in the folder of a saved training. */
export const MANIFEST = "training.json";

/** Writes a small file beside its place, onto the disk, and renames it. @throws ConfigError */
export async function writeAtomically(folder: string, name: string, text: string): Promise<void> {
  const beside = join(folder, `.${name}.${randomUUID()}.tmp`);
  const writing = async (): Promise<void> => {
    try {
      const handle = await open(beside, "wx");
      try {
        await handle.writeFile(text);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(beside, join(folder, name));
    } catch (error) {
      await rm(beside, { force: true });
      throw error;
    }
    await syncFolder(folder);
  };
  await orRefuse(folder, writing());
}

/** Removes what earlier saves left behind: tensor files that no manifest names, and torn ones. */
export async function removeStale(folder: string, current: string): Promise<void> {
  const stale = (await readdir(folder)).filter(
    (name) =>
      (/^training-[\w-]+\.safetensors$/.test(name) && name !== current) ||
      /^\.training(?:-[\w-]+)?\.(?:safetensors|json)\.[\w-]+\.tmp$/.test(name),
  );
  await Promise.all(stale.map((name) => rm(join(folder, name), { force: true })));
}

/** Makes a new name survive a loss of power, where the system can open folders (Windows cannot). */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

async function orRefuse(folder: string, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      `cannot write into ${folder} (${why}); choose a folder that can be written`,
      "folder",
      folder,
      { cause },
    );
  }
}

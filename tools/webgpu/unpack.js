import { createReadStream, existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

/** After this many milliseconds, what an unpacking left unfinished belongs to nobody any more. */
const abandoned = 60 * 60 * 1000;

/**
 * Fills a folder once. It is filled beside its place and renamed when whole: a killed run leaves
 * nothing that looks finished, and of two that run at once the second drops its own.
 *
 * @param {string} folder its place
 * @param {(unfinished: string) => Promise<void>} fill
 */
export async function unpackOnce(folder, fill) {
  if (existsSync(folder)) return;
  await mkdir(dirname(folder), { recursive: true });
  const mark = `${basename(folder)}.unfinished-`;
  await sweep(dirname(folder), mark);
  const unfinished = await mkdtemp(join(dirname(folder), mark));
  try {
    await fill(unfinished);
    await chmod(unfinished, 0o755);
    await rename(unfinished, folder);
  } catch (error) {
    if (!isTaken(error)) throw error;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/**
 * @param {string} file a Brotli stream
 * @param {NodeJS.WritableStream} sink
 */
export function decompress(file, sink) {
  return pipeline(createReadStream(file), createBrotliDecompress(), sink);
}

/**
 * @param {string} folder where a tar archive written to the stream is laid out, as the user's own
 * @returns {NodeJS.WritableStream}
 */
export function extraction(folder) {
  const tar = createRequire(import.meta.url)("tar-fs");
  return tar.extract(folder, { chown: false });
}

/**
 * @param {string} parent
 * @param {string} mark how the names of unfinished folders begin
 */
async function sweep(parent, mark) {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(mark)) continue;
    const path = join(parent, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    if (mtimeMs < Date.now() - abandoned) await rm(path, { recursive: true, force: true });
  }
}

/** @param {unknown} error of a rename onto a folder that another process finished meanwhile */
function isTaken(error) {
  const code = /** @type {{ code?: unknown, syscall?: unknown }} */ (error);
  return code.syscall === "rename" && (code.code === "ENOTEMPTY" || code.code === "EEXIST");
}

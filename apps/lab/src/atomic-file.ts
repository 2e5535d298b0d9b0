import { renameSync, rmSync, writeFileSync } from "node:fs";

/** Writes a file beside its place and renames it, so that it is never half written. */
export function writeFileAtomically(path: string, content: string): void {
  const beside = `${path}.${process.pid}.new`;
  try {
    writeFileSync(beside, content, { flush: true });
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { ConfigError } from "@moiety/core";
import { fewestBytes, splitDomain } from "./domain.ts";
import type { Domain, RawDomain } from "./domain.ts";
import { typescriptText } from "./typescript-text.ts";

/** All domains of a run. */
export interface Text {
  readonly domains: readonly Domain[];
  /** Where it comes from, in words. */
  readonly source: string;
  /** Absolute paths of the user's files, or null for the text that the install brought. */
  readonly files: readonly string[] | null;
  /** SHA-256 of all bytes and where each domain ends, by which a resumed run knows its text. */
  readonly digest: string;
}

/**
 * Reads the domains of a run.
 *
 * @param files one file for each domain, or null for the text of the installed TypeScript.
 * @param sequenceLength predictions of one training sequence; it decides what is too short.
 * @throws ConfigError for a file that is missing, not a file, unreadable, empty or too short.
 */
export function loadText(files: readonly string[] | null, sequenceLength: number): Text {
  if (files === null) {
    const { domains, source } = typescriptText();
    return textOf(domains, source, null);
  }
  const paths = files.map((file) => resolve(file));
  const names = paths.map((path) => basename(path));
  const domains = files.map((file, index): RawDomain => {
    const bytes = readTextFile(file);
    refuseShort(file, bytes.length, fewestBytes(sequenceLength));
    const name = names[index] ?? file;
    const twice = names.indexOf(name) !== names.lastIndexOf(name);
    // A file given twice stays two domains, told apart by their place.
    return { name: twice ? `${index + 1}:${name}` : name, title: file, bytes };
  });
  const source = files.length === 1 ? "1 file of yours" : `${files.length} files of yours`;
  return textOf(domains, source, paths);
}

function textOf(raw: readonly RawDomain[], source: string, files: readonly string[] | null): Text {
  const hash = createHash("sha256");
  for (const { bytes } of raw) hash.update(`${bytes.length}\n`).update(bytes);
  return { domains: raw.map(splitDomain), source, files, digest: hash.digest("hex") };
}

function readTextFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new ConfigError(
      `--text: cannot read ${file} (${reason(cause)}): give the path of a readable file`,
      "text",
      file,
      { cause },
    );
  }
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ENOENT") return "there is no such file";
  if (code === "EISDIR") return "it is a folder";
  if (code === "EACCES" || code === "EPERM") return "no permission";
  return cause instanceof Error ? cause.message : String(cause);
}

function refuseShort(file: string, bytes: number, fewest: number): void {
  if (bytes >= fewest) return;
  const what = bytes === 0 ? "is empty" : `holds ${bytes} bytes only`;
  throw new ConfigError(
    `--text: ${file} ${what}: each file needs at least ${fewest} bytes, ` +
      "of which the last 5 % are held out; give a longer one",
    "text",
    file,
  );
}

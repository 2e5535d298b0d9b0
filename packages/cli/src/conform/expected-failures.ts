import { readFile } from "node:fs/promises";
import type { ExpectedFailure } from "@moiety/conformance";
import { ConfigError } from "@moiety/core";

/**
 * Reads a list of expected failures: a JSON array of `{ id, reason, link }`.
 * @throws ConfigError where it cannot be read or is no such list
 */
export async function readExpectedFailures(path: string): Promise<readonly ExpectedFailure[]> {
  const list = await readJson(path);
  if (!Array.isArray(list)) throw problem(path, "is no JSON array of { id, reason, link }");
  for (const [index, entry] of (list as readonly unknown[]).entries()) {
    const { id, reason, link } = (entry ?? {}) as Readonly<Record<string, unknown>>;
    if ([id, reason, link].every((part) => typeof part === "string")) continue;
    throw problem(path, `entry ${index} must be { id, reason, link }, all three text`);
  }
  return list as readonly ExpectedFailure[];
}

async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw problem(
      path,
      `cannot be read (${cause instanceof Error ? cause.message : String(cause)})`,
    );
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n", 1)[0] : String(cause);
    throw problem(path, `is no JSON (${why})`);
  }
}

function problem(path: string, what: string): ConfigError {
  return new ConfigError(`the list of expected failures ${path} ${what}`, "xfail", path);
}

import { ConfigError } from "@moiety/core";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the disk quota is used up",
  EMFILE: "too many files are open",
  EEXIST: "a file stands in its place",
};

/** The code of a file system's error, such as `ENOENT`; undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** What failed, and what to do about it. */
export interface PathFault {
  /** What could not be done, such as `read`. */
  readonly action: string;
  /** The file or folder. */
  readonly path: string;
  /** What the path is to the user. */
  readonly key: "folder" | "path";
  /** What to do. */
  readonly advice: string;
}

/** A `ConfigError` about a path: `cannot <action> <path>: <what the code says>; <advice>`. */
export function pathFault(code: string, fault: PathFault, cause?: unknown): ConfigError {
  const { action, path, key, advice } = fault;
  const reason = REASONS[code] ?? code;
  return new ConfigError(`cannot ${action} ${path}: ${reason}; ${advice}`, key, path, { cause });
}

/** The same, from an error of the file system; any other error passes through. */
export function pathError(error: unknown, fault: PathFault): unknown {
  const code = systemCode(error);
  return code === undefined ? error : pathFault(code, fault, error);
}

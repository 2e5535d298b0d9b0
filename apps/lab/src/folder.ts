import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { makeFolder } from "@moiety/checkpoints/node";
import { ConfigError } from "@moiety/core";

/** Where the parts of a run lie. */
export interface RunFolder {
  /** Absolute path of the folder. */
  readonly path: string;
  /** The settings. */
  readonly settings: string;
  /** One line for each step and model. */
  readonly metrics: string;
  /** The page to look at. */
  readonly report: string;
  /** What resuming needs. */
  readonly checkpoint: string;
  /** The sparse model in Hugging Face's layout. */
  readonly model: string;
  /** The dense model in Hugging Face's layout. */
  readonly denseModel: string;
  /** The model that is routed by a hash, in Hugging Face's layout. */
  readonly hashModel: string;
}

/** The parts of the run in a folder; nothing is looked up or made. */
function runFolder(path: string): RunFolder {
  return {
    path: resolve(path),
    settings: join(path, "run.json"),
    metrics: join(path, "metrics.jsonl"),
    report: join(path, "report.html"),
    checkpoint: join(path, "checkpoint"),
    model: join(path, "model"),
    denseModel: join(path, "model-dense"),
    hashModel: join(path, "model-hash"),
  };
}

/** A folder under `runs/` that is named by date and time and does not exist yet. */
export function datedFolder(now: Date, workingFolder: string): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
  const base = join(workingFolder, "runs", `${date}-${time}`);
  let path = base;
  for (let number = 2; existsSync(path); number += 1) path = `${base}-${number}`;
  return path;
}

/**
 * Makes the folder of a new run.
 *
 * @throws ConfigError where it holds a run already, is a file, or cannot be written; then nothing
 *   in it has changed.
 */
export async function createRunFolder(path: string): Promise<RunFolder> {
  const folder = runFolder(path);
  const { path: own, ...parts } = folder;
  const taken = Object.values(parts).find((part) => existsSync(part));
  if (taken !== undefined) {
    throw new ConfigError(
      `--out ${own} already holds a run (${taken.slice(own.length + 1)}): ` +
        `continue it with --resume ${own}, or give another folder`,
      "out",
      own,
    );
  }
  try {
    await makeFolder(own);
    const probe = join(own, `.probe-${process.pid}`);
    writeFileSync(probe, "", { flag: "wx" });
    rmSync(probe);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      `--out ${own} cannot be written (${why}): give a folder that can be made and written`,
      "out",
      own,
      { cause },
    );
  }
  return folder;
}

/**
 * Finds the folder of a run to continue.
 *
 * @throws ConfigError where there is none.
 */
export function existingRunFolder(path: string): RunFolder {
  const folder = runFolder(path);
  if (!existsSync(folder.path)) {
    throw new ConfigError(
      `--resume ${folder.path}: there is no such folder; give the --out of an earlier run`,
      "resume",
      path,
    );
  }
  if (!statSync(folder.path).isDirectory() || !existsSync(folder.settings)) {
    throw new ConfigError(
      `--resume ${folder.path} holds no run (run.json is missing): give the --out of an earlier run`,
      "resume",
      path,
    );
  }
  return folder;
}

import { readFileSync } from "node:fs";
import { FormatError } from "@moiety/core";
import { writeFileAtomically } from "./atomic-file.ts";
import { balances } from "./balances.ts";
import { presets } from "./presets.ts";
import { routers } from "./routers.ts";
import type { Settings } from "./settings.ts";
import { difference, isRecord, orNull } from "./shape-check.ts";

const formatVersion = 3;

/** Writes a run's settings, beside and renamed. */
export function writeSettings(path: string, settings: Settings): void {
  writeFileAtomically(path, `${JSON.stringify({ formatVersion, ...settings }, null, 2)}\n`);
}

/**
 * Reads a run's settings.
 *
 * @throws FormatError for a file that is damaged, of another version, or lacks a setting.
 */
export function readSettings(path: string): Settings {
  const damaged = (what: string, cause?: unknown): FormatError =>
    new FormatError(
      `${path}: ${what}, so the run cannot be continued: restore the file, or start a new run`,
      0,
      { cause },
    );
  const value = parse(readFileSync(path, "utf8"), damaged);
  if (!isRecord(value)) throw damaged("it is not an object");
  const { formatVersion: version, ...rest } = value;
  if (version !== formatVersion) {
    throw damaged(`formatVersion ${String(version)} is unknown (${formatVersion} is known)`);
  }
  if (!isSettings(rest)) throw damaged(problem(rest) ?? "a setting is damaged");
  return rest;
}

function parse(content: string, damaged: (what: string, cause: unknown) => FormatError): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw damaged("it is not JSON", cause);
  }
}

function isSettings(value: unknown): value is Settings {
  return problem(value) === null;
}

function problem(value: unknown): string | null {
  const example: Settings = {
    preset: "small",
    seed: 1,
    backend: "cpu",
    router: "mixtralRouter",
    balance: "switch",
    minutes: null,
    steps: null,
    text: null,
    textDigest: "",
    model: presets.small.model,
    training: presets.small.training,
    evaluation: presets.small.evaluation,
  };
  const nullable = { minutes: orNull(1), steps: orNull(1), text: orNull([""]) };
  const found = difference({ ...example, ...nullable }, value);
  if (found !== null || !isRecord(value)) return found;
  if (!Object.hasOwn(presets, String(value["preset"]))) return "preset is unknown";
  if (!Object.hasOwn(routers, String(value["router"]))) return "router is unknown";
  if (!Object.hasOwn(balances, String(value["balance"]))) return "balance is unknown";
  return null;
}

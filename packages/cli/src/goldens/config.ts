import type { JsonObject } from "@moiety/checkpoints";
import { FormatError } from "@moiety/core";

/** A whole number from 1 in a case's config. @throws FormatError */
export function countOf(config: JsonObject, key: string): number {
  const value = config[key];
  if (typeof value === "number" && Number.isInteger(value) && value >= 1) return value;
  throw new FormatError(
    `case.json: config.${key} is ${String(value)}, not a whole number from 1`,
    0,
  );
}

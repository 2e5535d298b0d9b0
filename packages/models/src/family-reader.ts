import type { JsonObject } from "@moiety/checkpoints";
import { ConfigReader } from "./config-reader.ts";
import type { Family } from "./family.ts";

/**
 * Reads a family's `config.json`: the section of the language model where there is one, keys under
 * their other names, and what the configuration class assumes for those that are not there.
 */
export function readerOf(
  { section, aliases = {}, defaults }: Family,
  values: JsonObject,
): ConfigReader {
  const inner = section === undefined ? undefined : values[section];
  const isSection = typeof inner === "object" && inner !== null && !Array.isArray(inner);
  const merged: JsonObject = isSection ? { ...values, ...(inner as JsonObject) } : values;
  const renamed = Object.entries(aliases).flatMap(([other, key]) =>
    Object.hasOwn(merged, other) && !Object.hasOwn(merged, key) ? [[key, merged[other]]] : [],
  );
  return new ConfigReader(
    { ...merged, ...(Object.fromEntries(renamed) as JsonObject) },
    { initializer_range: 0.02, ...defaults },
  );
}

import { FormatError } from "@moiety/core";
import type { JsonNode } from "./node.ts";
import { parseJson } from "./parse.ts";

/** A JSON value; integers beyond 2^53 are bigints, so that none loses digits. */
export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly JsonValue[]
  | JsonObject;

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** A JSON object that knows which of its numbers are floats, which JavaScript's numbers do not say. */
export interface JsonDocument {
  /** The values. */
  readonly value: JsonObject;
  /**
   * Paths of the numbers that Python would hold as floats: keys and positions joined by `/`, as in
   * `rope_scaling/factor` (a `/` inside a key is `~1` and a `~` is `~0`, as in JSON Pointer).
   */
  readonly floats: ReadonlySet<string>;
}

/**
 * Makes a document. `floats` marks keys whose whole numbers are written `10000.0`; a path where no
 * number stands does nothing, so one list serves all configs of a family.
 */
export function jsonDocument(value: JsonObject, floats: Iterable<string> = []): JsonDocument {
  return { value, floats: new Set(floats) };
}

/**
 * Reads a JSON file that holds an object, such as `config.json`. Takes `NaN` and `Infinity`, which
 * Python writes. `name` is what errors call the file.
 *
 * Throws {@link FormatError} with the offset of the byte at fault.
 */
export function parseJsonDocument(bytes: Uint8Array, name: string): JsonDocument {
  const node = parseJson(bytes, { name, nonFinite: true });
  if (node.kind !== "object") {
    throw new FormatError(`${name}: holds ${nounOf(node)} where an object belongs`, node.offset);
  }
  const floats = new Set<string>();
  return { value: valueOf(node, "", floats) as JsonObject, floats };
}

/** The path of a key or position below `path`. */
export function childPath(path: string, key: string | number): string {
  const step = String(key).replaceAll("~", "~0").replaceAll("/", "~1");
  return path === "" ? step : `${path}/${step}`;
}

/** What an error calls a node. */
export function nounOf(node: JsonNode): string {
  if (node.kind === "literal") return String(node.value);
  return `${node.kind === "object" || node.kind === "array" ? "an" : "a"} ${node.kind}`;
}

function valueOf(node: JsonNode, path: string, floats: Set<string>): JsonValue {
  switch (node.kind) {
    case "object":
      // `fromEntries` defines keys, where an assignment to `__proto__` would set the prototype.
      return Object.fromEntries(
        node.entries.map(({ key, value }) => [key, valueOf(value, childPath(path, key), floats)]),
      );
    case "array":
      return node.items.map((item, index) => valueOf(item, childPath(path, index), floats));
    case "number":
      if (/^-?\d+$/.test(node.text)) return integerOf(node.text);
      floats.add(path);
      return Number(node.text);
    default:
      return node.value;
  }
}

function integerOf(text: string): number | bigint {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value + 0 : BigInt(text);
}

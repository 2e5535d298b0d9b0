import { ConfigError } from "@moiety/core";
import { compareCodePoints } from "../text.ts";
import { childPath, type JsonDocument, type JsonObject, type JsonValue } from "./document.ts";
import { pythonFloat } from "./python-float.ts";

/**
 * Writes a document just as Hugging Face's `save_pretrained` writes `config.json`: Python's
 * `json.dumps(…, indent=2, sort_keys=True)` and a newline, in ASCII.
 *
 * Throws {@link ConfigError} naming the path of a value that JSON has no word for.
 */
export function formatJsonDocument(document: JsonDocument): string {
  return `${format(document.value, "", "", document.floats)}\n`;
}

function format(
  value: JsonValue,
  path: string,
  indent: string,
  floats: ReadonlySet<string>,
): string {
  if (value === null || typeof value === "boolean" || typeof value === "bigint") {
    return String(value);
  }
  if (typeof value === "string") return quote(value);
  if (typeof value === "number") {
    return floats.has(path) || !Number.isSafeInteger(value) ? pythonFloat(value) : String(value);
  }
  if (typeof value !== "object") {
    throw new ConfigError(
      `${path} is ${typeof value}, which JSON cannot hold; leave the key out or set null`,
      path,
      value,
    );
  }
  const inner = `${indent}  `;
  const lines = isList(value)
    ? value.map((item, index) => format(item, childPath(path, index), inner, floats))
    : Object.entries(value)
        .toSorted(keyOrder(value))
        .map(
          ([key, item]) => `${quote(key)}: ${format(item, childPath(path, key), inner, floats)}`,
        );
  const [open, close] = isList(value) ? ["[", "]"] : ["{", "}"];
  if (lines.length === 0) return `${open}${close}`;
  return `${open}\n${inner}${lines.join(`,\n${inner}`)}\n${indent}${close}`;
}

// `Array.isArray` does not narrow readonly arrays.
function isList(value: JsonObject | readonly JsonValue[]): value is readonly JsonValue[] {
  return Array.isArray(value);
}

type Entry = readonly [string, JsonValue];

// Tables such as id2label have integer keys in Python, which sorts them as integers.
function keyOrder(object: JsonObject): (a: Entry, b: Entry) => number {
  const allIntegers = Object.keys(object).every((key) => /^(?:0|[1-9]\d{0,14})$/.test(key));
  return allIntegers ? ([a], [b]) => Number(a) - Number(b) : ([a], [b]) => compareCodePoints(a, b);
}

function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

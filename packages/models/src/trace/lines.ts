import { FormatError, NumericError } from "@moiety/core";
import type { RoutedLayer, RoutedToken } from "./routed-token.ts";

/**
 * A record as one line of JSON, without the line's end:
 * `{"sequence":0,"position":4,"token":17,"layers":[{"layer":0,"experts":[3,1],"weights":[0.7,0.3]}]}`,
 * where a layer may also have `"dropped":n`. Keys are those of {@link RoutedToken}; a file of such
 * lines (JSON Lines) is a trace.
 * @throws NumericError for a weight that is not finite, which JSON has no word for
 */
export function traceLine(record: RoutedToken): string {
  const { sequence, position, token, layers } = record;
  for (const { layer, weights } of layers) {
    if (weights.every(Number.isFinite)) continue;
    throw new NumericError(
      `a weight of token ${position} of sequence ${sequence} in layer ${layer} is not finite; ` +
        "the model has diverged",
    );
  }
  const written = layers.map(({ layer, experts, weights, dropped }) => ({
    layer,
    experts,
    weights,
    ...(dropped !== undefined && { dropped }),
  }));
  return JSON.stringify({ sequence, position, token, layers: written });
}

/**
 * Reads the lines of a trace. Empty lines are skipped.
 * @throws FormatError naming the line, counted from 1, with the offset of its first byte
 */
export function parseTrace(text: string): RoutedToken[] {
  const records: RoutedToken[] = [];
  let offset = 0;
  for (const [index, line] of text.split("\n").entries()) {
    const refuse = (why: string): never => {
      throw new FormatError(`line ${index + 1} of the trace: ${why}`, offset);
    };
    if (line.trim() !== "") records.push(readRecord(line, refuse));
    offset += byteLength(line) + 1;
  }
  return records;
}

type Refuse = (why: string) => never;
type Members = Readonly<Record<string, unknown>>;

function readRecord(line: string, refuse: Refuse): RoutedToken {
  const value = membersOf(parsed(line, refuse), "the line", refuse);
  requireKeys(value, ["sequence", "position", "token", "layers"], "the line", refuse);
  const { layers } = value;
  if (!Array.isArray(layers)) return refuse("layers must be a list");
  return {
    sequence: whole(value, "sequence", refuse),
    position: whole(value, "position", refuse),
    token: whole(value, "token", refuse),
    layers: layers.map((layer, index) => readLayer(layer, `layers[${index}]`, refuse)),
  };
}

function parsed(line: string, refuse: Refuse): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    return refuse(`no JSON (${error instanceof Error ? error.message : String(error)})`);
  }
}

function readLayer(layer: unknown, name: string, refuse: Refuse): RoutedLayer {
  const inLayer: Refuse = (why) => refuse(`${name}: ${why}`);
  const value = membersOf(layer, "it", inLayer);
  requireKeys(value, ["layer", "experts", "weights", "dropped"], "it", inLayer);
  const experts = list(value, "experts", isWhole, "whole numbers from 0", inLayer);
  const weights = list(value, "weights", Number.isFinite, "numbers", inLayer);
  if (experts.length !== weights.length) {
    return inLayer(`${experts.length} experts, but ${weights.length} weights`);
  }
  return {
    layer: whole(value, "layer", inLayer),
    experts,
    weights,
    ...(value["dropped"] !== undefined && { dropped: whole(value, "dropped", inLayer) }),
  };
}

function membersOf(value: unknown, name: string, refuse: Refuse): Members {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Members) : refuse(`${name} must be an object`);
}

function requireKeys(value: Members, known: readonly string[], name: string, refuse: Refuse): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) refuse(`${name} has ${unknown}, but may have ${known.join(", ")}`);
}

function whole(value: Members, key: string, refuse: Refuse): number {
  const number = value[key];
  return isWhole(number)
    ? number
    : refuse(`${key} is ${JSON.stringify(number)}, but must be a whole number from 0`);
}

function list(
  value: Members,
  key: string,
  isMember: (member: unknown) => boolean,
  wanted: string,
  refuse: Refuse,
): number[] {
  const members = value[key];
  if (Array.isArray(members) && members.every(isMember)) return members as number[];
  return refuse(`${key} must be a list of ${wanted}`);
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Bytes of a text in UTF-8. */
function byteLength(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

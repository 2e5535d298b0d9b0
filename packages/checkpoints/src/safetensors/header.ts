import { FormatError, formatShape } from "@moiety/core";
import { nounOf } from "../json/document.ts";
import type { JsonEntry, JsonNode } from "../json/node.ts";
import { parseJsonEntries } from "../json/parse.ts";
import { isSafetensorsDtype, safetensorsBytes, safetensorsDtypes } from "./dtype.ts";
import type { SafetensorsMetadata, TensorInfo } from "./info.ts";

/** The longest header that Hugging Face's reader takes, in bytes. */
export const LONGEST_HEADER = 100_000_000;

/** Byte offset of the header in its file: before it stands its length. */
export const HEADER_START = 8;

/** A header whose every statement was checked against the file's length. */
export interface Header {
  /** The entry `__metadata__`, where the file has one. */
  readonly metadata: SafetensorsMetadata | undefined;
  /** All tensors, in the order of their bytes. */
  readonly tensors: readonly TensorInfo[];
}

/** Where the header stands. */
export interface HeaderPlace {
  /** What errors call the file. */
  readonly name: string;
  /** Byte offset at which the tensors' bytes begin. */
  readonly dataStart: number;
  /** Length of the whole file in bytes. */
  readonly size: number;
}

interface Placed {
  readonly info: TensorInfo;
  readonly headerOffset: number;
}

/**
 * Reads a header and checks it: no key twice, dtypes, shapes, lengths, and that the tensors cover the file's bytes
 * without a hole, an overlap or a rest (the format's own rules).
 *
 * Throws {@link FormatError} with the offset of the entry at fault.
 */
export function checkHeader(bytes: Uint8Array, place: HeaderPlace): Header {
  let metadata: SafetensorsMetadata | undefined;
  const placed: Placed[] = [];
  parseJsonEntries(bytes, { name: place.name, base: HEADER_START }, (entry) => {
    if (entry.key === "__metadata__") metadata = metadataOf(entry.value, place);
    else placed.push({ info: infoOf(entry, place), headerOffset: entry.offset });
  });
  placed.sort(({ info: a }, { info: b }) => a.offset - b.offset || a.byteLength - b.byteLength);
  checkCover(placed, place);
  return { metadata, tensors: placed.map(({ info }) => info) };
}

function fail(place: HeaderPlace, offset: number, what: string): never {
  throw new FormatError(
    `${place.name}: ${what} (header, byte ${offset}); ` +
      "the file is damaged or was not written by a safetensors writer, get it again",
    offset,
  );
}

function metadataOf(node: JsonNode, place: HeaderPlace): SafetensorsMetadata | undefined {
  if (node.kind === "literal" && node.value === null) return undefined;
  if (node.kind !== "object") fail(place, node.offset, `__metadata__ is ${nounOf(node)}`);
  return Object.fromEntries(
    node.entries.map(({ key, offset, value }) => {
      if (value.kind !== "string") {
        fail(place, offset, `__metadata__ holds ${nounOf(value)} under "${key}", not a string`);
      }
      return [key, value.value];
    }),
  );
}

function infoOf({ key: name, offset: at, value: node }: JsonEntry, place: HeaderPlace): TensorInfo {
  if (node.kind !== "object") fail(place, at, `the entry "${name}" is ${nounOf(node)}`);
  let dtypeNode: JsonNode | undefined;
  let shapeNode: JsonNode | undefined;
  let rangeNode: JsonNode | undefined;
  for (const { key, offset, value } of node.entries) {
    if (key === "dtype") dtypeNode = value;
    else if (key === "shape") shapeNode = value;
    else if (key === "data_offsets") rangeNode = value;
    else fail(place, offset, `tensor "${name}" has the unknown key "${key}"`);
  }
  if (dtypeNode?.kind !== "string") fail(place, at, `tensor "${name}" has no dtype`);
  const dtype = dtypeNode.value;
  if (!isSafetensorsDtype(dtype)) {
    const known = safetensorsDtypes().join(", ");
    fail(place, dtypeNode.offset, `tensor "${name}" has dtype "${dtype}", known are ${known}`);
  }
  const shape = integersOf(shapeNode, name, "shape", at, place);
  const range = integersOf(rangeNode, name, "data_offsets", at, place);
  const [begin = 0, end = 0] = range;
  if (range.length !== 2 || end < begin) {
    fail(place, at, `tensor "${name}" has data_offsets ${formatShape(range)}, not [begin, end]`);
  }
  const byteLength = bytesOf(shape, safetensorsBytes(dtype));
  if (byteLength === undefined) {
    fail(place, at, `tensor "${name}" of shape ${formatShape(shape)} has more than 2^53 elements`);
  }
  if (end - begin !== byteLength) {
    const needed = `${dtype} ${formatShape(shape)} takes ${byteLength} bytes`;
    fail(place, at, `tensor "${name}": ${needed}, but data_offsets hold ${end - begin}`);
  }
  if (place.dataStart + end > place.size) {
    throw new FormatError(
      `${place.name}: ends at byte ${place.size}, but tensor "${name}" runs to byte ` +
        `${place.dataStart + end}; the file was cut short, get it again`,
      place.size,
    );
  }
  return { name, dtype, shape, offset: place.dataStart + begin, byteLength };
}

function integersOf(
  node: JsonNode | undefined,
  name: string,
  key: string,
  at: number,
  place: HeaderPlace,
): number[] {
  if (node === undefined) fail(place, at, `tensor "${name}" has no ${key}`);
  if (node.kind !== "array") fail(place, node.offset, `${key} of "${name}" is ${nounOf(node)}`);
  return node.items.map((item) => {
    const count = item.kind === "number" && /^\d+$/.test(item.text) ? Number(item.text) : undefined;
    if (count !== undefined && Number.isSafeInteger(count)) return count;
    const found = item.kind === "number" ? item.text : nounOf(item);
    return fail(place, item.offset, `${key} of "${name}" holds ${found}, not a count below 2^53`);
  });
}

/** Bytes of a shape, or undefined where the count leaves the exact integers. */
function bytesOf(shape: readonly number[], elementBytes: number): number | undefined {
  let bytes = elementBytes;
  for (const dimension of shape) {
    bytes *= dimension;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

function checkCover(placed: readonly Placed[], place: HeaderPlace): void {
  let covered = place.dataStart;
  let before = "the header";
  for (const { info, headerOffset } of placed) {
    if (info.offset !== covered) {
      const how = info.offset > covered ? "leaves a hole after" : "overlaps";
      const where = `begins at byte ${info.offset}, but ${before} ends at byte ${covered}`;
      fail(place, headerOffset, `tensor "${info.name}" ${how} ${before}: it ${where}`);
    }
    covered += info.byteLength;
    before = `tensor "${info.name}"`;
  }
  if (covered !== place.size) {
    throw new FormatError(
      `${place.name}: ${before} ends at byte ${covered}, but the file goes on to byte ` +
        `${place.size}; bytes that belong to no tensor are refused, get the file again`,
      covered,
    );
  }
}

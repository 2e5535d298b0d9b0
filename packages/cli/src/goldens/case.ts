import { join } from "node:path";
import {
  type JsonObject,
  type JsonValue,
  type SafetensorsFile,
  openSafetensors,
  parseJsonDocument,
  toHost,
} from "@moiety/checkpoints";
import { fileSource } from "@moiety/checkpoints/node";
import { FormatError, formatShape, sameShape } from "@moiety/core";

/** Numbers with a shape: a tensor of a case, or what the libraries made of it. */
export interface Values {
  readonly shape: readonly number[];
  /** float64, whatever they were: integers up to 2⁵³ are exact in it. */
  readonly data: Float64Array;
  /**
   * How far an honest float32 backend may be from each number, where the conformance kit's yardstick
   * made them: 0 where it must have the same, ∞ where it may have any. Absent where all are 0.
   */
  readonly bounds?: Float64Array | undefined;
}

/** A recorded tensor. */
export interface Recorded extends Values {
  readonly name: string;
  /** Whether it holds integers or booleans, which are compared exactly. */
  readonly isInteger: boolean;
}

/** One truth case: what was recorded, and what `case.json` says of it. */
export interface GoldenCase {
  /** Name of the family's folder. */
  readonly family: string;
  /** Name of the case's folder. */
  readonly name: string;
  readonly folder: string;
  /** `case.json`. */
  readonly about: JsonObject;
  /** Its `config`. */
  readonly config: JsonObject;
  readonly tensors: ReadonlyMap<string, Recorded>;
}

/**
 * Reads a case and checks it for damage.
 *
 * @throws ConfigError for a file that is not there, FormatError for a damaged one
 */
export async function readCase(folder: string, family: string, name: string): Promise<GoldenCase> {
  const path = join(folder, "case.json");
  const about = parseJsonDocument(await readBytes(path), path).value;
  const config = about["config"];
  if (!isObject(config)) throw new FormatError(`${path}: it has no config`, 0);
  const tensors = await readTensors(join(folder, "tensors.safetensors"), about["tensors"]);
  return { family, name, folder, about, config, tensors };
}

/** A tensor of a case. @throws FormatError where the case lacks it */
export function requireTensor({ tensors }: GoldenCase, name: string): Recorded {
  const found = tensors.get(name);
  if (found !== undefined) return found;
  throw new FormatError(`the case has no tensor "${name}"; it is damaged, get it again`, 0);
}

/** Whether a JSON value is an object. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function readBytes(path: string): Promise<Uint8Array> {
  const source = await fileSource(path);
  try {
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

async function readTensors(
  path: string,
  listed: JsonValue | undefined,
): Promise<Map<string, Recorded>> {
  const source = await fileSource(path);
  try {
    const file = await openSafetensors(source);
    if (isObject(listed)) requireListed(path, file, listed);
    const tensors = new Map<string, Recorded>();
    for (const [name, { dtype }] of file.tensors) {
      const isInteger = !(dtype.startsWith("F") || dtype === "BF16");
      const { shape, data } = toHost(await file.read(name), isInteger ? "i32" : "f64");
      const values = data instanceof Float64Array ? data : Float64Array.from(data);
      tensors.set(name, { name, isInteger, shape, data: values });
    }
    return tensors;
  } finally {
    await source.close();
  }
}

/** `case.json` may list its tensors; then the file holds just these. */
function requireListed(path: string, file: SafetensorsFile, listed: JsonObject): void {
  for (const [name, info] of Object.entries(listed)) {
    const found = file.tensors.get(name);
    if (found === undefined) {
      throw new FormatError(`${path}: lacks the tensor "${name}" that case.json lists`, 0);
    }
    const shape = isObject(info) && Array.isArray(info["shape"]) ? info["shape"] : undefined;
    if (shape !== undefined && !sameShape(shape as readonly number[], found.shape)) {
      throw new FormatError(
        `${path}: tensor "${name}" is ${formatShape(found.shape)}, but case.json lists ` +
          formatShape(shape as readonly number[]),
        found.offset,
      );
    }
  }
}

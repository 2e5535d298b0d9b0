import type { JsonDocument, JsonObject, JsonValue, TensorStorage } from "@moiety/checkpoints";
import { UnsupportedError } from "@moiety/core";
import { show } from "./show.ts";

/** Key of `config.json` that says how weights are held where they are not plain. */
const KEY = "quantization_config";

/** A configuration, and how the weights that belong to it may be held. */
export interface StoredDocument {
  /** The configuration as it is once the weights are plain values. */
  readonly document: JsonDocument;
  readonly storage: TensorStorage | undefined;
}

/**
 * Reads `quantization_config` where it means weights that become plain values as they are read:
 * `quant_method` `mxfp4` (gpt-oss), and `fp8` with a factor for each block of `weight_block_size`
 * (DeepSeek-V3). Others are left to who reads the configuration.
 * @throws UnsupportedError for other kinds of `fp8`, naming the key
 */
export function storageOf(document: JsonDocument): StoredDocument {
  const { [KEY]: found, ...value } = document.value;
  if (!isObject(found)) return { document, storage: undefined };
  const plain = { ...document, value };
  switch (found["quant_method"]) {
    case "mxfp4":
      return { document: plain, storage: { kind: "mxfp4" } };
    case "fp8":
      return { document: plain, storage: scaledBlocks(found) };
    default:
      return { document, storage: undefined };
  }
}

function scaledBlocks(config: JsonObject): TensorStorage {
  requireOneOf(config, "fmt", [undefined, "e4m3"]);
  requireOneOf(config, "activation_scheme", [undefined, "dynamic"]);
  const size: unknown = config["weight_block_size"];
  if (Array.isArray(size) && size.length === 2) {
    const [rows, columns] = size as readonly unknown[];
    if (isSize(rows) && isSize(columns))
      return { kind: "scaledBlocks", blockSize: [rows, columns] };
  }
  throw unbuilt("weight_block_size", size as JsonValue | undefined, "two sizes such as [128, 128]");
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function requireOneOf(
  config: JsonObject,
  key: string,
  allowed: readonly (JsonValue | undefined)[],
): void {
  if (allowed.includes(config[key])) return;
  throw unbuilt(key, config[key], allowed.filter((value) => value !== undefined).join(" or "));
}

function unbuilt(key: string, value: JsonValue | undefined, built: string): UnsupportedError {
  const name = `${KEY}.${key}`;
  return new UnsupportedError(
    `config.json: ${name} is ${show(value)}, which is not read; it may be ${built}`,
    name,
  );
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

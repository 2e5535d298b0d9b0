import { type JsonDocument, type JsonObject, type JsonValue } from "@moiety/checkpoints";
import { ConfigError, type QuantizedFormat, type Tensor, isFloat } from "@moiety/core";
import type { DecoderConfig, FfnConfig, MoeConfig } from "../decoder/config.ts";
import { show } from "../show.ts";

/** A format of experts' matrices, by its name here and in files. */
export type ExpertFormat = "q8_row" | "q8_32" | "q4_32" | "mxfp4";

/** A dtype of the matrices outside the experts. */
export type RestDType = "f32" | "f16" | "bf16";

/** How a model's weights are held. */
export interface Quantization {
  /** Format of the matrices of routed experts. Floats unless given. */
  readonly experts?: ExpertFormat | undefined;
  /**
   * Dtype of the other matrices: embedding and output projection, attention, dense layers and shared
   * experts, and routed experts without a format. As they are unless given. Vectors (norms, biases)
   * and everything of routers stay as they are.
   */
  readonly rest?: RestDType | undefined;
}

/** What the formats are called in the contract of backends. */
export const expertFormats: Readonly<Record<ExpertFormat, QuantizedFormat>> = {
  q8_row: "q8_row",
  q8_32: "q8_block32",
  q4_32: "q4_block32",
  mxfp4: "mxfp4",
};

const REST: readonly RestDType[] = ["f32", "f16", "bf16"];

/** Key of `config.json` under which it stands, and the method by which it is known as ours. */
const CONFIG_KEY = "quantization_config";
const METHOD = "moiety";

/** Throws {@link ConfigError} for a format or dtype that there is not, naming the key. */
export function checkQuantization({ experts, rest }: Quantization): void {
  requireWord("experts", experts, Object.keys(expertFormats));
  requireWord("rest", rest, REST);
}

/** A `config.json` without what {@link withQuantization} wrote into it, and what that says. */
export function readQuantization(values: JsonObject): {
  readonly values: JsonObject;
  readonly quantization: Quantization;
} {
  const { [CONFIG_KEY]: written, ...others } = values;
  // Other methods are for the families to know or refuse.
  if (!isObject(written) || written["quant_method"] !== METHOD) return { values, quantization: {} };
  const { quant_method: _, experts, rest, ...unknown } = written;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    const key = `${CONFIG_KEY}.${stranger}`;
    throw new ConfigError(`config.json: ${key} is not known`, key, unknown[stranger]);
  }
  const quantization = { experts: experts ?? undefined, rest: rest ?? undefined } as Quantization;
  checkQuantization(quantization);
  return { values: others, quantization };
}

/** A `config.json` that says how the weights are held. */
export function withQuantization(
  { value, floats }: JsonDocument,
  { experts, rest }: Quantization,
): JsonDocument {
  const written = { quant_method: METHOD, experts: experts ?? null, rest: rest ?? null };
  return { value: { ...value, [CONFIG_KEY]: written }, floats };
}

/**
 * A decoder whose banks are in a format. Their matrices lie `[E, out, in]`, whatever they were: numbers
 * that are added up then share scales.
 */
export function quantizedDecoder(config: DecoderConfig, { experts }: Quantization): DecoderConfig {
  if (experts === undefined) return config;
  const format = expertFormats[experts];
  const straight = <Ffn extends FfnConfig>(ffn: Ffn): Ffn => ({ ...ffn, transposed: false });
  const moeOf = (moe: MoeConfig): MoeConfig => ({
    ...moe,
    expert: straight(moe.expert),
    ...(moe.others && { others: moe.others.map(straight) }),
    format,
  });
  return {
    ...config,
    layers: config.layers.map((layer) =>
      "moe" in layer ? { ...layer, moe: moeOf(layer.moe) } : layer,
    ),
  };
}

/** Whether a tensor of parameters is in a dtype that weights are held in. */
export function isHeld({ dtype }: Tensor, path: string): boolean {
  if (path.endsWith(".codes")) return dtype === "u8";
  if (path.endsWith(".scales")) return dtype === "f32" || dtype === "u8";
  return isFloat(dtype) || dtype === "f16" || dtype === "bf16";
}

/** What other loaders would make of a model that is held so, a line each. */
export function quantizationWarnings({ experts, rest }: Quantization): string[] {
  if (experts === undefined && rest === undefined) return [];
  const held = experts === undefined ? `matrices are in ${rest}` : `the experts are in ${experts}`;
  return [
    `${held}, which "${CONFIG_KEY}" in config.json says by the method ${METHOD}: other loaders do ` +
      "not know it, and refuse the model",
  ];
}

function requireWord(key: string, value: unknown, allowed: readonly string[]): void {
  if (value === undefined || (typeof value === "string" && allowed.includes(value))) return;
  throw new ConfigError(
    `${key} is ${show(value)}, but must be absent or one of ${allowed.join(", ")}`,
    key,
    value,
  );
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

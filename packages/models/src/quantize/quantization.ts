import { type JsonDocument, type JsonObject, type JsonValue } from "@moiety/checkpoints";
import { ConfigError, type ProductFormat, type Tensor, isFloat } from "@moiety/core";
import type { DecoderConfig, FfnConfig, LayerConfig, MoeConfig } from "../decoder/config.ts";
import { show } from "../show.ts";

/**
 * A format of matrices, by its name here and in files. `q8_32_a8` and `q4_32_a8` are stored like `q8_32`
 * and `q4_32`; their products round activations to 8 bits in blocks of 32, as llama.cpp's Q8_0 and Q4_0
 * do.
 */
export type ExpertFormat = "q8_row" | "q8_32" | "q4_32" | "mxfp4" | "q8_32_a8" | "q4_32_a8";

/** A dtype of the matrices outside the experts. */
export type RestDType = "f32" | "f16" | "bf16";

/** How the matrices outside the experts may be held. */
export type RestFormat = RestDType | ExpertFormat;

/** How a model's weights are held. */
export interface Quantization {
  /** Format of the matrices of routed experts. Floats unless given. */
  readonly experts?: ExpertFormat | undefined;
  /**
   * Dtype or format of the other matrices: embedding and output projection, attention (of latent
   * attention, too), dense layers and shared experts, and routed experts that are given no format. As
   * they are unless given. Vectors (norms, biases, sinks), everything of routers, and what stands around
   * banks of experts stay as they are.
   */
  readonly rest?: RestFormat | undefined;
}

/** What the formats are called in the contract of backends. */
export const expertFormats: Readonly<Record<ExpertFormat, ProductFormat>> = {
  q8_row: "q8_row",
  q8_32: "q8_block32",
  q4_32: "q4_block32",
  mxfp4: "mxfp4",
  q8_32_a8: "q8_block32_a8",
  q4_32_a8: "q4_block32_a8",
};

/** Every {@link RestFormat}. */
export const restFormats: readonly RestFormat[] = [
  "f32",
  "f16",
  "bf16",
  .../*#__PURE__*/ Object.keys(expertFormats),
] as RestFormat[];

/** Whether matrices are held in codes. */
export function isFormat(rest: RestFormat | undefined): rest is ExpertFormat {
  return rest !== undefined && Object.hasOwn(expertFormats, rest);
}

/** The format of the matrices of routed experts, which `rest` names where `experts` does not. */
export function bankFormat({ experts, rest }: Quantization): ExpertFormat | undefined {
  return experts ?? (isFormat(rest) ? rest : undefined);
}

/** Key of `config.json` under which it stands, and the method by which it is known as ours. */
const CONFIG_KEY = "quantization_config";
const METHOD = "moiety";

/** Throws {@link ConfigError} for a format or dtype that there is not, naming the key. */
export function checkQuantization({ experts, rest }: Quantization): void {
  requireWord("experts", experts, Object.keys(expertFormats));
  requireWord("rest", rest, restFormats);
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
 * A decoder whose matrices are in formats. They lie `[…, out, in]` then, whatever they were: numbers
 * that are added up then share scales.
 */
export function quantizedDecoder(config: DecoderConfig, quantization: Quantization): DecoderConfig {
  const banks = bankFormat(quantization);
  const { rest } = quantization;
  if (banks === undefined) return config;
  const moeOf = (moe: MoeConfig): MoeConfig => ({
    ...moe,
    expert: straight(moe.expert),
    ...(moe.others && { others: moe.others.map(straight) }),
    ...(isFormat(rest) && moe.shared && { shared: straight(moe.shared) }),
    format: expertFormats[banks],
  });
  const layerOf = (layer: LayerConfig): LayerConfig => {
    if ("moe" in layer) return { ...layer, moe: moeOf(layer.moe) };
    return isFormat(rest) ? { ...layer, dense: straight(layer.dense) } : layer;
  };
  return {
    ...config,
    ...(isFormat(rest) && { format: expertFormats[rest] }),
    layers: config.layers.map(layerOf),
  };
}

function straight<Ffn extends FfnConfig>(ffn: Ffn): Ffn {
  return { ...ffn, transposed: false };
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
  const others = rest === undefined ? "" : ` and other matrices in ${rest}`;
  const held =
    experts === undefined ? `matrices are in ${rest}` : `the experts are in ${experts}${others}`;
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

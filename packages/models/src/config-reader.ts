import type { JsonObject, JsonValue } from "@moiety/checkpoints";
import { type Activation, ConfigError, UnsupportedError } from "@moiety/core";
import { show } from "./show.ts";

/** Hugging Face's names of activations (`ACT2FN`). */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  linear: "identity",
  relu: "relu",
  relu2: "reluSquared",
  silu: "silu",
  swish: "silu",
};

/** Reads typed values from a `config.json` over the defaults of its family. */
export class ConfigReader {
  readonly #values: JsonObject;
  readonly #defaults: JsonObject;

  constructor(values: JsonObject, defaults: JsonObject) {
    this.#values = values;
    this.#defaults = defaults;
  }

  /** The value, or the default where the key is absent; `null` where neither is there. */
  value(key: string): JsonValue {
    const holder = Object.hasOwn(this.#values, key) ? this.#values : this.#defaults;
    return holder[key] ?? null;
  }

  /** A whole number from `least`. @throws ConfigError */
  count(key: string, least = 1): number {
    const value = this.value(key);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    return refuse(key, value, `a whole number from ${least}`);
  }

  /** A whole number from 1, or `fallback` where it is absent or null. @throws ConfigError */
  countOr(key: string, fallback: number): number {
    return this.value(key) === null ? fallback : this.count(key);
  }

  /** A whole number from `least`, or `undefined` where it is absent or null. @throws ConfigError */
  countIfAny(key: string, least = 1): number | undefined {
    return this.value(key) === null ? undefined : this.count(key, least);
  }

  /** A whole number from 1, of a list that of the layer. @throws ConfigError */
  countAt(key: string, layer: number): number {
    const value = this.value(key);
    if (!Array.isArray(value)) return this.count(key);
    const own = (value as readonly JsonValue[])[layer];
    if (typeof own === "number" && Number.isSafeInteger(own) && own >= 1) return own;
    return refuse(`${key}[${layer}]`, own ?? null, "a whole number from 1");
  }

  /** A finite number, of a list that of the layer; `undefined` where it is absent or null. */
  numberAtIfAny(key: string, layer: number): number | undefined {
    const value = this.value(key);
    if (!Array.isArray(value)) return this.numberIfAny(key);
    const own = (value as readonly JsonValue[])[layer] ?? null;
    if (own === null) return undefined;
    if (typeof own === "number" && Number.isFinite(own)) return own;
    return refuse(`${key}[${layer}]`, own, "a number or null");
  }

  /** A finite number. @throws ConfigError */
  number(key: string): number {
    const value = this.value(key);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    return refuse(key, value, "a number");
  }

  /** A finite number, or `undefined` where it is absent or null. @throws ConfigError */
  numberIfAny(key: string): number | undefined {
    return this.value(key) === null ? undefined : this.number(key);
  }

  /** True or false. @throws ConfigError */
  flag(key: string): boolean {
    const value = this.value(key);
    return typeof value === "boolean" ? value : refuse(key, value, "true or false");
  }

  /** A list of whole numbers, empty where it is absent or null. @throws ConfigError */
  counts(key: string): readonly number[] {
    const value = this.value(key);
    if (value === null) return [];
    const isList = Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));
    return isList ? (value as readonly number[]) : refuse(key, value, "a list of whole numbers");
  }

  /** One of the words allowed. @throws UnsupportedError for another */
  choice<const Word extends string>(key: string, allowed: readonly Word[]): Word {
    const value = this.value(key);
    const found = allowed.find((word) => word === value);
    if (found !== undefined) return found;
    throw unbuilt(key, value, allowed);
  }

  /** A word of a list, that of the layer; `undefined` where the list is absent or null. */
  wordAt(key: string, layer: number): string | undefined {
    const value = this.value(key);
    if (value === null) return undefined;
    const own = Array.isArray(value) ? (value as readonly JsonValue[])[layer] : value;
    return typeof own === "string" ? own : refuse(`${key}[${layer}]`, own ?? null, "a word");
  }

  /** The object under a key, over the defaults under it. @throws ConfigError */
  nested(key: string): ConfigReader {
    const value = this.value(key);
    const defaults = this.#defaults[key] ?? null;
    return new ConfigReader(requireObject(key, value), requireObject(key, defaults));
  }

  /** An activation by Hugging Face's name. @throws UnsupportedError for one that is not built */
  activation(key: string): Activation {
    const value = this.value(key);
    if (typeof value === "string" && Object.hasOwn(ACTIVATIONS, value)) {
      return ACTIVATIONS[value] as Activation;
    }
    throw unbuilt(key, value, Object.keys(ACTIVATIONS));
  }

  /** Number of key and value heads; that of the query heads unless given. @throws ConfigError */
  keyValueHeads(): number {
    return this.countOr("num_key_value_heads", this.count("num_attention_heads"));
  }

  /** Width of a head; the hidden size shared by the heads unless given. @throws ConfigError */
  headDim(): number {
    if (this.value("head_dim") !== null) return this.count("head_dim");
    const [width, heads] = [this.count("hidden_size"), this.count("num_attention_heads")];
    if (width % heads === 0) return width / heads;
    return refuse("hidden_size", width, `a multiple of the ${heads} heads, or head_dim be given`);
  }

  /**
   * Elements of a head that are rotated: `partial_rotary_factor` of them, which release 5 has under
   * `rope_parameters`. @throws ConfigError
   */
  rotaryDim(): number {
    const key = "partial_rotary_factor";
    const factor = this.nested("rope_parameters").numberIfAny(key) ?? this.number(key);
    const width = Math.trunc(this.headDim() * factor);
    if (width >= 0 && width % 2 === 0) return width;
    return refuse(key, factor, "such that an even part of a head is rotated");
  }

  /** The keys that are given and not null. */
  keys(): string[] {
    return Object.keys(this.#values).filter((key) => this.#values[key] !== null);
  }

  /** A list of numbers. @throws ConfigError */
  numbers(key: string): readonly number[] {
    const value = this.value(key);
    const isList = Array.isArray(value) && value.every((item) => Number.isFinite(item));
    return isList ? (value as readonly number[]) : refuse(key, value, "a list of numbers");
  }

  /**
   * Major number of the transformers release that wrote the configuration; `undefined` where none is
   * named. Releases differ in a few computations, and a file means what its writer computed.
   */
  release(): number | undefined {
    const version = this.value("transformers_version");
    const [, major] = (typeof version === "string" && /^v?(\d+)\./.exec(version)) || [];
    return major === undefined ? undefined : Number(major);
  }

  /** Throws {@link UnsupportedError} for a value that is neither absent nor one of those built. */
  requireSupported(supported: Readonly<Record<string, readonly JsonValue[] | undefined>>): void {
    for (const [key, allowed] of Object.entries(supported)) {
      if (allowed === undefined) continue;
      const value = this.value(key);
      const items = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
      if (value !== null && !items.every((item) => allowed.includes(item))) {
        throw unbuilt(key, value, allowed);
      }
    }
  }
}

function requireObject(key: string, value: JsonValue): JsonObject {
  if (value === null) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as JsonObject;
  return refuse(key, value, "an object");
}

function refuse(key: string, value: JsonValue, wanted: string): never {
  throw new ConfigError(`config.json: ${key} is ${show(value)}, but must be ${wanted}`, key, value);
}

/** An error for a value of which the models here make nothing. */
export function unbuilt(
  key: string,
  value: JsonValue,
  built: readonly JsonValue[],
): UnsupportedError {
  const choices = built.length > 0 ? built.map(show).join(", ") : "absent or null";
  return new UnsupportedError(
    `config.json: ${key} is ${show(value)}, which is not built; it may be ${choices}`,
    `${key} ${show(value)}`,
  );
}

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  NumericError,
  type Tensor,
  UnsupportedError,
  at,
  mapTree,
  randomKey,
} from "@moiety/core";
import { modelFromConfig } from "../from-config.ts";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { blockConfig } from "../testing/quantized.ts";
import { type Quantization, readQuantization, withQuantization } from "./quantization.ts";
import { quantize } from "./quantize.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

/** A model in which one number of a leaf is another. */
async function damaged(path: string, value: number): Promise<ReadyModel> {
  const ready = initModel(blockConfig, randomKey(5), { backend });
  const leaf = at(ready.params, path) as Tensor;
  const values = Float32Array.from(await leaf.read());
  values[7] = value;
  const other = backend.tensor(values, { shape: leaf.shape });
  const params = mapTree(ready.params, (own, place) => (place === path ? other : own));
  return { ...ready, params: params as ReadyModel["params"] };
}

describe("quantize refuses", () => {
  it.each([
    ["layers.2.moe.experts.down", Number.NaN, { experts: "q8_row" }],
    ["layers.1.moe.experts.gateUp", Infinity, { experts: "mxfp4" }],
    ["layers.1.moe.experts.gateUp", -Infinity, { rest: "bf16" }],
    ["layers.0.attention.query", 1e5, { rest: "f16" }],
    ["embedding", Number.NaN, { rest: "f16" }],
    ["embedding", Infinity, { rest: "q8_row" }],
    ["layers.0.attention.query", Number.NaN, { rest: "q8_row" }],
  ] as const)("%s with %f in %o, naming it, and leaves nothing behind", async (...given) => {
    const [path, value, quantization] = given;
    const ready = await damaged(path, value);
    const before = backend.statistics().liveBuffers;
    const made = quantize(ready, quantization);
    await expect(made).rejects.toThrow(NumericError);
    await expect(made).rejects.toThrow(path);
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("rows that hold no whole blocks, naming every leaf", async () => {
    const odd = { ...blockConfig, hidden_size: 24, moe_intermediate_size: 40 };
    const ready = initModel(odd, randomKey(5), { backend });
    const before = backend.statistics().liveBuffers;
    for (const experts of ["q8_32", "q4_32", "mxfp4"] as const) {
      const made = quantize(ready, { experts });
      await expect(made).rejects.toThrow(ConfigError);
      for (const layer of [1, 2]) {
        await expect(made).rejects.toThrow(`layers.${layer}.moe.experts.gateUp [4, 80, 24]`);
        await expect(made).rejects.toThrow(`layers.${layer}.moe.experts.down [4, 24, 40]`);
      }
    }
    expect(backend.statistics().liveBuffers).toBe(before);
    await expect(quantize(ready, { experts: "q8_row" })).resolves.toBeDefined();
  });

  it("rows of the rest that hold no whole blocks, naming every leaf", async () => {
    const ready = initModel({ ...blockConfig, intermediate_size: 20 }, randomKey(5), { backend });
    const before = backend.statistics().liveBuffers;
    for (const rest of ["q8_32", "q4_32", "mxfp4", "q8_32_a8", "q4_32_a8"] as const) {
      const made = quantize(ready, { rest });
      await expect(made).rejects.toThrow(ConfigError);
      await expect(made).rejects.toMatchObject({ key: "rest", value: rest });
      await expect(made).rejects.toThrow("layers.0.dense.down [32, 20]");
      for (const layer of [1, 2]) {
        await expect(made).rejects.toThrow(`layers.${layer}.moe.shared.ffn.down [32, 40]`);
      }
      await expect(made).rejects.not.toThrow("gateUp");
    }
    expect(backend.statistics().liveBuffers).toBe(before);
    await expect(quantize(ready, { rest: "q8_row" })).resolves.toBeDefined();
  });

  it("formats and dtypes that there are not, and codes of codes", async () => {
    const ready = initModel(blockConfig, randomKey(5), { backend });
    const refused: readonly [object, RegExp][] = [
      [{ experts: "q3" }, /experts is "q3".*q8_row, q8_32, q4_32, mxfp4/],
      [{ experts: "q4_block32" }, /experts is "q4_block32"/],
      [{ rest: "f8" }, /rest is "f8".*f32, f16, bf16/],
    ];
    for (const [options, message] of refused) {
      const made = quantize(ready, options as Quantization);
      await expect(made).rejects.toThrow(ConfigError);
      await expect(made).rejects.toThrow(message);
    }
    const small = await quantize(ready, { experts: "q8_row" });
    await expect(quantize(small, { experts: "q4_32" })).rejects.toThrow(/in q8_row already/);
    const all = await quantize(small, { rest: "q8_row" });
    await expect(quantize(all, { rest: "f16" })).rejects.toThrow(/other matrices are in q8_row/);
    const alike = await quantize(ready, { rest: "q8_row" });
    await expect(quantize(alike, { experts: "q4_32" })).rejects.toThrow(/experts are in q8_row/);
  });

  it("frees all of a model that was donated, also where it fails", async () => {
    const before = backend.statistics().liveBuffers;
    const ready = initModel(blockConfig, randomKey(5), { backend });
    const down = at(ready.params, "layers.2.moe.experts.down") as Tensor;
    const bad = backend.tensor(new Float32Array(down.size).fill(Number.NaN), { shape: down.shape });
    const params = mapTree(ready.params, (leaf) => (leaf === down ? bad : leaf));
    down.dispose();
    const given = { ...ready, params: params as ReadyModel["params"] };
    await expect(quantize(given, { experts: "q8_32", donate: true })).rejects.toThrow(NumericError);
    expect(backend.statistics().liveBuffers).toBe(before);
  });
});

describe("quantization_config", () => {
  const { document } = modelFromConfig(blockConfig).config;

  it("says what a model is held in, and is read again", () => {
    const quantization: Quantization = { experts: "q4_32", rest: "f16" };
    const written = withQuantization(document, quantization);
    expect(written.value["quantization_config"]).toEqual({
      quant_method: "moiety",
      experts: "q4_32",
      rest: "f16",
    });
    expect(readQuantization(written.value)).toEqual({ values: document.value, quantization });
    const { layers } = modelFromConfig(written).config.decoder;
    expect(layers.map((layer) => ("moe" in layer ? layer.moe.format : "dense"))).toEqual([
      "dense",
      "q4_block32",
      "q4_block32",
    ]);
  });

  it("is refused with other words, keys and methods", () => {
    const build = (quantization: object): unknown =>
      modelFromConfig({
        ...document,
        value: { ...document.value, quantization_config: { ...quantization } },
      });
    expect(() => build({ quant_method: "moiety", experts: "q2" })).toThrow(/experts is "q2"/);
    expect(() => build({ quant_method: "moiety", rest: 16 })).toThrow(/rest is 16/);
    expect(() => build({ quant_method: "moiety", rest: "q8_block32" })).toThrow(/rest is "q8_bl/);
    expect(() => build({ quant_method: "moiety", experts: "q8_row", rest: "mxfp4" })).toThrow(
      ConfigError,
    );
    expect(() => build({ quant_method: "moiety", bits: 4 })).toThrow(
      /quantization_config.bits is not known/,
    );
    expect(() => build({ quant_method: "gptq", bits: 4 })).toThrow(UnsupportedError);
  });
});

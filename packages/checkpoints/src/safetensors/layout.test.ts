import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { safetensorsBytes, safetensorsDtypes } from "./dtype.ts";
import { type TensorShape, layoutSafetensors } from "./layout.ts";

const headerOf = (entries: TensorShape[], metadata?: Record<string, string>): string =>
  new TextDecoder().decode(layoutSafetensors(entries, metadata).header.subarray(8));

const one = (name: string): TensorShape => ({ name, dtype: "U8", shape: [1] });

describe("layoutSafetensors", () => {
  // What safetensors 0.8.0 writes for the same tensors, given in any order.
  it("orders all dtypes as Hugging Face's writer does", () => {
    const entries = safetensorsDtypes().map((dtype) => ({ name: `t_${dtype}`, dtype, shape: [1] }));
    const order = "U64 I64 F64 F32 U32 I32 BF16 F16 U16 I16 F8_E4M3 F8_E5M2 I8 U8 BOOL".split(" ");
    const layout = layoutSafetensors(entries);
    expect(layout.entries.map(({ dtype }) => dtype)).toEqual(order);
    expect(layout.entries.map(({ dtype }) => safetensorsBytes(dtype))).toEqual([
      8, 8, 8, 4, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1,
    ]);
    expect(layout.size).toBe(layout.header.length + 49);
  });

  it("orders names by code point and escapes them as serde does", () => {
    const names = ["a\u{10000}", "a\uffff", 'a\u00e9\u2028\u007f\u0001"\\/\n\u{1f600}'];
    expect(headerOf(names.map(one), { format: "pt" })).toBe(
      '{"__metadata__":{"format":"pt"},' +
        '"a\u00e9\u2028\u007f\\u0001\\"\\\\/\\n\u{1f600}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' +
        '"a\uffff":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},' +
        '"a\u{10000}":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}      ',
    );
  });

  it("writes nothing, empty metadata and empty tensors", () => {
    expect([...layoutSafetensors([]).header]).toEqual([
      8, 0, 0, 0, 0, 0, 0, 0, 123, 125, 32, 32, 32, 32, 32, 32,
    ]);
    expect(headerOf([{ name: "", dtype: "U8", shape: [0] }], {})).toBe(
      '{"__metadata__":{},"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}  ',
    );
  });

  it("refuses names that cannot stand", () => {
    expect(() => layoutSafetensors([one("a"), one("a")])).toThrow('two tensors are called "a"');
    expect(() => layoutSafetensors([one("__metadata__")])).toThrow(ConfigError);
    expect(() => layoutSafetensors([one("\ud800")])).toThrow("not valid Unicode");
  });

  it("refuses dtypes, shapes and metadata that make no sense", () => {
    const dtype = "F128" as "F64";
    expect(() => layoutSafetensors([{ name: "a", dtype, shape: [1] }])).toThrow("unknown dtype");
    for (const shape of [[-1], [0.5], [Number.NaN]]) {
      expect(() => layoutSafetensors([{ name: "a", dtype: "U8", shape }])).toThrow(ConfigError);
    }
    const shape = [2 ** 30, 2 ** 30];
    expect(() => layoutSafetensors([{ name: "a", dtype: "U8", shape }])).toThrow("2^53 bytes");
    const metadata = { step: 5 } as unknown as Record<string, string>;
    expect(() => layoutSafetensors([], metadata)).toThrow('the metadata "step" must be valid text');
    expect(() => layoutSafetensors([], { a: "\ud800" })).toThrow(ConfigError);
  });

  it("refuses a header that no reader takes", () => {
    expect(() => layoutSafetensors([], { a: "x".repeat(100_000_000) })).toThrow(
      "above the 100000000 that readers allow",
    );
  });
});

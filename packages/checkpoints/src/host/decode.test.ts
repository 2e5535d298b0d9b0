import { DTypeError, NumericError, ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type SafetensorsDtype, safetensorsDtypes } from "../safetensors/dtype.ts";
import type { TensorView } from "../safetensors/info.ts";
import { bytesOf, reverseElements } from "./byte-order.ts";
import { toHost } from "./decode.ts";

function view(dtype: SafetensorsDtype, array: ArrayBufferView, count: number): TensorView {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return { name: "x", dtype, shape: [count], bytes };
}

describe("toHost", () => {
  it.each([
    ["F64", Float64Array.of(1.5, -0, 1e-30)],
    ["F32", Float32Array.of(1.5, -0, 1e-30)],
    ["F16", Uint16Array.of(0x3e00, 0x8000, 0x0001)],
    ["BF16", Uint16Array.of(0x3fc0, 0x8000, 0x0001)],
    ["F8_E4M3", Uint8Array.of(0x3c, 0x80, 0x01)],
    ["F8_E5M2", Uint8Array.of(0x3e, 0x80, 0x01)],
  ] as const)("reads %s as f32 and f64", (dtype, array) => {
    const wide = toHost(view(dtype, array, 3), "f64");
    const narrow = toHost(view(dtype, array, 3), "f32");
    expect(wide.dtype).toBe("f64");
    expect(wide.shape).toEqual([3]);
    expect(wide.data).toBeInstanceOf(Float64Array);
    expect([...wide.data].slice(0, 2)).toEqual([1.5, -0]);
    expect(wide.data[2]).toBeGreaterThan(0);
    expect([...narrow.data]).toEqual([...Float32Array.from(wide.data)]);
  });

  it("reads F32 as f64 exactly, in more pieces than one", () => {
    const values = Float32Array.from({ length: 10_001 }, (_, index) => Math.sin(index));
    expect(toHost(view("F32", values, 10_001), "f64").data).toEqual(Float64Array.from(values));
  });

  it("keeps the bits of NaNs", () => {
    const f32 = toHost(view("F16", Uint16Array.of(0xfe01), 1), "f32");
    expect([...new Uint32Array(f32.data.buffer)]).toEqual([0xffc02000]);
  });

  it.each([
    ["I64", BigInt64Array.of(-5n, 2147483647n)],
    ["I32", Int32Array.of(-5, 2147483647)],
    ["I16", Int16Array.of(-5, 32767)],
    ["I8", Int8Array.of(-5, 127)],
    ["U64", BigUint64Array.of(5n, 2147483647n)],
    ["U32", Uint32Array.of(5, 2147483647)],
    ["U16", Uint16Array.of(5, 65535)],
    ["U8", Uint8Array.of(5, 255)],
    ["BOOL", Uint8Array.of(0, 1)],
  ] as const)("reads %s as i32", (dtype, array) => {
    const { data } = toHost(view(dtype, array, 2), "i32");
    expect(data).toBeInstanceOf(Int32Array);
    expect([...data]).toEqual(Array.from(array, Number));
  });

  it("reads integers as u32, and BOOL as bool", () => {
    expect(toHost(view("U64", BigUint64Array.of(4294967295n), 1), "u32").data).toEqual(
      Uint32Array.of(4294967295),
    );
    expect(toHost(view("BOOL", Uint8Array.of(1, 0), 2), "bool").data).toEqual(Uint32Array.of(1, 0));
  });

  it("keeps storage dtypes as they are", () => {
    const half = Uint16Array.of(0x3e00, 0xfe01);
    expect(toHost(view("F16", half, 2), "f16").data).toEqual(half);
    expect(toHost(view("BF16", half, 2), "bf16").data).toEqual(half);
    expect(toHost(view("U8", Uint8Array.of(7), 1), "u8").data).toEqual(Uint8Array.of(7));
  });

  it("reads bytes that are not aligned", () => {
    const values = Float64Array.of(1, 2);
    const shifted = new Uint8Array(17);
    shifted.set(bytesOf(values), 1);
    expect(toHost(view("F64", shifted.subarray(1), 2), "f32").data).toEqual(Float32Array.of(1, 2));
    expect(toHost(view("F64", shifted.subarray(1), 2), "f64").data).toEqual(values);
    shifted.set([0x80, 0x3f, 0xc0, 0x3f], 1);
    const odd = view("BF16", shifted.subarray(1, 5), 2);
    expect(toHost(odd, "f32").data).toEqual(Float32Array.of(1, 1.5));
  });

  it("leaves the bytes that it was given alone", () => {
    const values = Float32Array.of(1, 2);
    toHost(view("F32", values, 2), "f32").data.fill(9);
    expect([...values]).toEqual([1, 2]);
  });

  it.each([
    ["I64", BigInt64Array.of(2147483648n), "i32", "2147483648"],
    ["I64", BigInt64Array.of(-9223372036854775808n), "i32", "-9223372036854776000"],
    ["U64", BigUint64Array.of(4294967296n), "u32", "4294967296"],
    ["U32", Uint32Array.of(4294967295), "i32", "4294967295"],
    ["I8", Int8Array.of(-1), "u32", "-1"],
    ["BOOL", Uint8Array.of(2), "u32", "2"],
  ] as const)("refuses %s that does not fit", (dtype, array, to, value) => {
    const read = (): unknown => toHost(view(dtype, array, 1), to);
    expect(read).toThrow(DTypeError);
    expect(read).toThrow(`tensor "x" (${dtype}) holds ${value}, which does not fit ${to}`);
  });

  it("refuses an F64 beyond f32, but not an infinity", () => {
    const read = (value: number): unknown => toHost(view("F64", Float64Array.of(value), 1), "f32");
    expect(() => read(1e39)).toThrow(NumericError);
    expect(read(-Infinity)).toMatchObject({ data: Float32Array.of(-Infinity) });
    expect(read(Number.NaN)).toMatchObject({ data: Float32Array.of(Number.NaN) });
  });

  it("refuses to turn integers into floats or floats into integers", () => {
    expect(() => toHost(view("I64", new Uint8Array(8), 1), "f32")).toThrow(
      'tensor "x" is I64 in the file, which is not read as f32; read it as i32 or u32',
    );
    expect(() => toHost(view("F32", new Uint8Array(4), 1), "i32")).toThrow(DTypeError);
    expect(() => toHost(view("F16", new Uint8Array(2), 1), "bf16")).toThrow(DTypeError);
    expect(() => toHost(view("U8", new Uint8Array(1), 1), "bool")).toThrow(DTypeError);
  });

  it("refuses bytes that do not fit the shape, and takes none for none", () => {
    expect(() => toHost(view("F32", new Uint8Array(4), 2), "f32")).toThrow(ShapeError);
    for (const dtype of safetensorsDtypes()) {
      const to = dtype.startsWith("F") || dtype === "BF16" ? "f64" : "i32";
      expect(toHost(view(dtype, new Uint8Array(0), 0), to).data).toHaveLength(0);
    }
  });
});

it("reverses elements for machines that store the high byte first", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4);
  reverseElements(bytes, 2);
  expect([...bytes]).toEqual([2, 1, 4, 3]);
});

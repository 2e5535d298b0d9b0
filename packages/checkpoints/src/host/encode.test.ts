import { DTypeError, NumericError, ShapeError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SafetensorsDtype } from "../safetensors/dtype.ts";
import { toHost } from "./decode.ts";
import { hostEntry } from "./encode.ts";
import type { HostTensor } from "./tensor.ts";

async function roundTrip(host: HostTensor, dtype?: SafetensorsDtype): Promise<HostTensor> {
  const entry = hostEntry("x", host, dtype);
  return toHost({ ...entry, bytes: await entry.bytes() }, host.dtype);
}

describe("hostEntry", () => {
  it.each<[HostTensor, readonly SafetensorsDtype[]]>([
    [{ dtype: "f32", shape: [2], data: Float32Array.of(1.5, -2) }, ["F32", "F64", "F16", "BF16"]],
    [{ dtype: "f64", shape: [2], data: Float64Array.of(1.5, -2) }, ["F32", "F64", "F16", "BF16"]],
    [{ dtype: "i32", shape: [2], data: Int32Array.of(-5, 9) }, ["I64", "I32", "I16", "I8"]],
    [{ dtype: "u32", shape: [2], data: Uint32Array.of(5, 9) }, ["U64", "U32", "U16", "U8", "I64"]],
    [{ dtype: "bool", shape: [2], data: Uint32Array.of(1, 0) }, ["BOOL"]],
    [{ dtype: "f16", shape: [1], data: Uint16Array.of(0xfe01) }, ["F16"]],
    [{ dtype: "bf16", shape: [1], data: Uint16Array.of(0x7f81) }, ["BF16"]],
    [{ dtype: "u8", shape: [1], data: Uint8Array.of(200) }, ["U8"]],
  ])("writes values that are read back", async (host, dtypes) => {
    expect(hostEntry("x", host).dtype).toBe(
      dtypes.find((dtype) => dtype === host.dtype.toUpperCase()),
    );
    expect(await roundTrip(host)).toEqual(host);
    for (const dtype of dtypes) expect(await roundTrip(host, dtype)).toEqual(host);
  });

  it("gives every f32 back through F32 and F64, bit for bit", async () => {
    const values = fc.float32Array({ maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(values, fc.constantFrom("F32", "F64"), async (data, dtype) => {
        const host: HostTensor = { dtype: "f32", shape: [data.length], data };
        expect(await roundTrip(host, dtype as SafetensorsDtype)).toEqual(host);
      }),
      { seed: 7 },
    );
  });

  it("copies nothing where bytes stay the same", async () => {
    const data = Float32Array.of(0, 1, 2, 3).subarray(1, 3);
    const bytes = await hostEntry("x", { dtype: "f32", shape: [2], data }).bytes();
    expect(bytes.buffer).toBe(data.buffer);
    expect(bytes).toHaveLength(8);
  });

  it("refuses values that do not fit", () => {
    const integers: HostTensor = { dtype: "i32", shape: [1], data: Int32Array.of(-1) };
    expect(() => hostEntry("x", integers, "U8").bytes()).toThrow(DTypeError);
    expect(() => hostEntry("x", integers, "U64").bytes()).toThrow("does not fit U64");
    const bools: HostTensor = { dtype: "bool", shape: [1], data: Uint32Array.of(2) };
    expect(() => hostEntry("x", bools).bytes()).toThrow("does not fit BOOL (0 to 1)");
    const floats: HostTensor = { dtype: "f64", shape: [1], data: Float64Array.of(1e5) };
    expect(() => hostEntry("x", floats, "F16").bytes()).toThrow(NumericError);
    const huge: HostTensor = { dtype: "f64", shape: [1], data: Float64Array.of(-1e39) };
    expect(() => hostEntry("x", huge, "F32").bytes()).toThrow("beyond F32");
    expect(() => hostEntry("x", huge, "BF16").bytes()).toThrow("beyond BF16");
  });

  it("writes infinities and NaN", async () => {
    const data = Float32Array.of(Infinity, -Infinity, Number.NaN);
    const host: HostTensor = { dtype: "f32", shape: [3], data };
    for (const dtype of ["F16", "BF16", "F64"] as const) {
      expect((await roundTrip(host, dtype)).data).toEqual(data);
    }
  });

  it("writes F8 as bytes, and refuses what is beyond", async () => {
    const data = Float32Array.of(448, -0, 0.0019, Number.NaN);
    const host: HostTensor = { dtype: "f32", shape: [4], data };
    expect([...(await hostEntry("x", host, "F8_E4M3").bytes())]).toEqual([0x7e, 0x80, 1, 0x7f]);
    const one = (value: number): HostTensor => ({
      dtype: "f64",
      shape: [1],
      data: Float64Array.of(value),
    });
    expect([...(await hostEntry("x", one(-Infinity), "F8_E5M2").bytes())]).toEqual([0xfc]);
    for (const value of [465, Infinity]) {
      const entry = hostEntry("x", one(value), "F8_E4M3");
      expect(() => entry.bytes()).toThrow(NumericError);
    }
    expect(() => hostEntry("x", one(61441), "F8_E5M2").bytes()).toThrow("beyond F8_E5M2");
  });

  it("refuses other pairs and a wrong number of values", () => {
    const host: HostTensor = { dtype: "f32", shape: [1], data: Float32Array.of(1) };
    expect(() => hostEntry("x", host, "I32")).toThrow(DTypeError);
    expect(() => hostEntry("x", host, "U8")).toThrow("write it as F32, F64, F16, BF16, F8_E4M3");
    expect(() => hostEntry("x", { ...host, shape: [2] })).toThrow(ShapeError);
  });
});

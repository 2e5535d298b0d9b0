import { ConfigError, ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type TensorEntry, encodeSafetensors, streamSafetensors } from "./write.ts";

const entry = (name: string, bytes: Uint8Array, shape: number[]): TensorEntry => ({
  name,
  dtype: "F32",
  shape,
  bytes: () => bytes,
});

describe("encodeSafetensors", () => {
  // The file in the tests of Hugging Face's safetensors/src/tensor.rs.
  it("writes the bytes that Hugging Face's writer writes", async () => {
    const values = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
    const file = await encodeSafetensors([entry("attn0", values, [1, 1, 2, 3])]);
    const json = '{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ';
    expect([...file]).toEqual([
      72,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...new TextEncoder().encode(json),
      ...values,
    ]);
  });

  it("refuses bytes that do not fit the shape", async () => {
    const entries = [entry("a", new Uint8Array(7), [2])];
    await expect(encodeSafetensors(entries)).rejects.toThrow(ShapeError);
    await expect(encodeSafetensors(entries)).rejects.toThrow(
      'tensor "a": F32 [2] takes 8 bytes, but 7 were given',
    );
  });
});

describe("streamSafetensors", () => {
  it("asks for each tensor's bytes when their turn comes", async () => {
    const asked: string[] = [];
    const lazy = (name: string): TensorEntry => ({
      ...entry(name, new Uint8Array(4), [1]),
      bytes: async () => {
        asked.push(name);
        return new Uint8Array(4);
      },
    });
    const stream = streamSafetensors([lazy("b"), lazy("a")]);
    let size = 0;
    const before: number[] = [];
    for await (const chunk of stream) {
      before.push(asked.length);
      size += chunk.length;
    }
    expect(before).toEqual([0, 1, 2]);
    expect(asked).toEqual(["a", "b"]);
    expect(size).toBe(stream.size);
  });

  it("refuses bad names before anything is written", () => {
    const twice = entry("a", new Uint8Array(4), [1]);
    expect(() => streamSafetensors([twice, twice])).toThrow(ConfigError);
  });
});

import { describe, expect, it } from "vitest";
import { onnxModel } from "./onnx.ts";

/** A message read back: field number → values, lengths-delimited ones as bytes. */
type Fields = Map<number, (number | Uint8Array)[]>;

function decode(bytes: Uint8Array): Fields {
  const fields: Fields = new Map();
  let place = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[place++] ?? 0;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const key = varint();
    const value = varint();
    const values = fields.get(Math.floor(key / 8)) ?? [];
    fields.set(Math.floor(key / 8), values);
    if (key % 8 === 0) values.push(value);
    else {
      expect(key % 8).toBe(2);
      values.push(bytes.subarray(place, (place += value)));
    }
  }
  expect(place).toBe(bytes.length);
  return fields;
}

const parts = (fields: Fields, field: number): Uint8Array[] =>
  (fields.get(field) ?? []).map((value) => value as Uint8Array);
const messages = (fields: Fields, field: number): Fields[] => parts(fields, field).map(decode);
const texts = (fields: Fields, field: number): string[] =>
  parts(fields, field).map((value) => new TextDecoder().decode(value));

describe("onnxModel", () => {
  const codes = Uint8Array.from({ length: 300 }, (_, index) => index % 256);
  const model = decode(
    onnxModel({
      inputs: [{ name: "x", shape: ["T", 300] }],
      outputs: [{ name: "y", shape: ["T", 1] }],
      constants: [
        { name: "codes", shape: [300, 1], values: codes },
        { name: "scales", shape: [1], values: Float32Array.of(0.5) },
      ],
      nodes: [
        {
          op: "Some",
          domain: "com.microsoft",
          inputs: ["x", "", "codes", "scales"],
          outputs: ["y"],
          attributes: { k: 200, kind: "swiglu" },
        },
      ],
    }),
  );
  const [graph = new Map() as Fields] = messages(model, 7);

  it("states versions and domains", () => {
    expect(model.get(1)).toEqual([9]);
    expect(
      messages(model, 8).map((opset) => [...texts(opset, 1), ...(opset.get(2) ?? [])]),
    ).toEqual([
      ["", 20],
      ["com.microsoft", 1],
    ]);
  });

  it("writes constants with shape, type and bytes", () => {
    const [first, second] = messages(graph, 5);
    expect(first?.get(1)).toEqual([300, 1]);
    expect(first?.get(2)).toEqual([2]);
    expect(texts(first as Fields, 8)).toEqual(["codes"]);
    expect(parts(first as Fields, 9)).toEqual([codes]);
    expect(second?.get(2)).toEqual([1]);
    expect(parts(second as Fields, 9)).toEqual([Uint8Array.of(0, 0, 0, 0x3f)]);
  });

  it("writes nodes with absent inputs and attributes of both kinds", () => {
    const [node = new Map() as Fields] = messages(graph, 1);
    expect(texts(node, 1)).toEqual(["x", "", "codes", "scales"]);
    expect(texts(node, 4)).toEqual(["Some"]);
    expect(texts(node, 7)).toEqual(["com.microsoft"]);
    const [k, kind] = messages(node, 5);
    expect([texts(k as Fields, 1), k?.get(3), k?.get(20)]).toEqual([["k"], [200], [2]]);
    expect([texts(kind as Fields, 1), texts(kind as Fields, 4), kind?.get(20)]).toEqual([
      ["kind"],
      ["swiglu"],
      [3],
    ]);
  });

  it("names sizes that vary", () => {
    const [input = new Map() as Fields] = messages(graph, 11);
    const [type] = messages(messages(input, 2)[0] as Fields, 1);
    const dimensions = messages(messages(type as Fields, 2)[0] as Fields, 1);
    expect(texts(dimensions[0] as Fields, 2)).toEqual(["T"]);
    expect(dimensions[1]?.get(1)).toEqual([300]);
  });
});

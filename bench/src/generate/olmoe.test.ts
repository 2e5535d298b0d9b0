import { describe, expect, it } from "vitest";
import { stepCost } from "./cost.ts";
import { ggufBytes } from "./gguf.ts";
import { hostModel, olmoeMetadata, olmoeTensors } from "./olmoe.ts";

const SIZES = { num_hidden_layers: 2, vocab_size: 256 };

describe("hostModel", () => {
  const model = hostModel("q4", "same", SIZES);

  it("gives the same values from wherever they are asked for", () => {
    const leaf = model.leaf("layers.0.moe.experts.down", [64, 2048, 1024]);
    const all = leaf.values(1000, 3000);
    expect(leaf.values(2500, 10)).toEqual(all.slice(1500, 1510));
    expect(model.leaf("layers.1.moe.experts.down", leaf.shape).values(1000, 3000)).not.toEqual(all);
  });

  it("draws numbers that the format holds, with a largest one in each block", () => {
    const { step, values } = model.leaf("head", [256, 2048]);
    const numbers = Array.from(values(0, 4096), (value) => value / step);
    expect(numbers.every((number) => Number.isInteger(number) && Math.abs(number) <= 7)).toBe(true);
    expect(numbers.filter((_, index) => index % 32 === 0).every((n) => Math.abs(n) === 7)).toBe(
      true,
    );
    const square = values(0, 4096).reduce((total, value) => total + value * value, 0) / 4096;
    expect(square * 2048).toBeGreaterThan(0.4);
    expect(square * 2048).toBeLessThan(2.5);
  });

  it("has norms about 1 that differ", () => {
    const [a, b] = ["norm", "layers.0.ffnNorm"].map((path) =>
      model.leaf(path, [2048]).values(0, 2048),
    );
    expect(a).not.toEqual(b);
    expect(new Set(a)).toEqual(new Set([0.875, 1, 1.125]));
  });
});

describe("olmoeTensors", () => {
  const model = hostModel("q4", "same", SIZES);
  const tensors = olmoeTensors(model, { experts: "Q4_0", rest: "F16" });
  const named = (name: string): (typeof tensors)[number] => {
    const found = tensors.find((tensor) => tensor.name === name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  };

  it("are all that llama.cpp's architecture has, with its shapes", () => {
    expect(tensors).toHaveLength(3 + 2 * 12);
    expect(named("token_embd.weight")).toMatchObject({ shape: [256, 2048], type: "F16" });
    expect(named("blk.1.ffn_gate_exps.weight")).toMatchObject({
      shape: [64, 1024, 2048],
      type: "Q4_0",
    });
    expect(named("blk.0.ffn_gate_inp.weight")).toMatchObject({ shape: [64, 2048], type: "F32" });
    expect(olmoeMetadata(model)).toMatchObject({
      "olmoe.block_count": { u32: 2 },
      "olmoe.expert_used_count": { u32: 8 },
    });
  });

  it("are as many bytes as their shapes say", () => {
    for (const name of ["output.weight", "blk.0.attn_norm.weight", "blk.0.ffn_gate_inp.weight"]) {
      const { pieces, shape, type } = named(name);
      let bytes = 0;
      for (const piece of pieces()) bytes += piece.length;
      expect(bytes).toBe(ggufBytes(shape, type));
    }
  });

  it("take gates and ups out of one leaf of ours", () => {
    const floats = olmoeTensors(hostModel("f32", "same", SIZES), { experts: "F32", rest: "F32" });
    const leaf = hostModel("f32", "same", SIZES).leaf(
      "layers.0.moe.experts.gateUp",
      [64, 2048, 2048],
    );
    for (const [name, first] of [
      ["blk.0.ffn_gate_exps.weight", 0],
      ["blk.0.ffn_up_exps.weight", 1024 * 2048],
    ] as const) {
      const pieces = floats.find((tensor) => tensor.name === name)?.pieces() ?? [];
      // Two pieces make one expert's half; the third begins the second expert's.
      const starts: Float32Array[] = [];
      for (const piece of pieces) {
        starts.push(new Float32Array(piece.slice(0, 64).buffer));
        if (starts.length === 3) break;
      }
      expect(starts[0]).toEqual(leaf.values(first, 16));
      expect(starts[2]).toEqual(leaf.values(2048 * 2048 + first, 16));
    }
  });
});

describe("stepCost", () => {
  it.each([
    ["same", 0.625],
    ["f16", 2],
    ["f32", 4],
  ] as const)(
    "reads k experts, the rest %s, and what the cache holds, at one token",
    (rest, width) => {
      const { bytes, operations } = stepCost(hostModel("q4", rest, SIZES), 1, 100);
      const attention = 4 * 2048 * 2048;
      const experts = 8 * 3 * 2048 * 1024;
      const router = 64 * 2048;
      const cache = 2 * 101 * 2048;
      const perLayer = width * attention + 4 * (router + cache) + 0.625 * experts;
      expect(bytes).toBeCloseTo(2 * perLayer + width * 257 * 2048, -1);
      expect(operations).toBe(
        2 * (2 * (attention + router + experts) + 4 * 101 * 2048) + 2 * 256 * 2048,
      );
    },
  );

  it("takes many tokens through all experts of a layer, and the last one alone through the last layer's", () => {
    const { bytes, operations } = stepCost(hostModel("q4", "same", SIZES), 512, 0);
    const [square, expert, router, tokens] = [2048 * 2048, 3 * 2048 * 1024, 64 * 2048, 512];
    const cache = 2 * tokens * 2048;
    expect(bytes).toBeCloseTo(
      0.625 * ((64 + 8) * expert + 2 * 4 * square + (256 + tokens) * 2048) +
        2 * 4 * (router + cache),
      -1,
    );
    const pairs = (tokens * (tokens + 1)) / 2;
    const first = 2 * tokens * (4 * square + router + 8 * expert) + 4 * pairs * 2048;
    const keysAndValues = 2 * tokens * 2 * square;
    const last = 2 * (2 * square + router + 8 * expert) + 4 * tokens * 2048;
    expect(operations).toBe(first + keysAndValues + last + 2 * 256 * 2048);
  });
});

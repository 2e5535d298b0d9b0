import { describe, expect, it } from "vitest";
import { formats, storageOf } from "./formats.ts";
import { ggufStorage, hostFor, textOf } from "./peers.ts";

describe("the peer", () => {
  it.each([
    ["q4", "same", { experts: "Q4_0", rest: "Q4_0" }],
    ["q4", "f16", { experts: "Q4_0", rest: "F16" }],
    ["q8", "f32", { experts: "Q8_0", rest: "F32" }],
    ["q8", "same", { experts: "Q8_0", rest: "Q8_0" }],
    ["f32", "f16", { experts: "F32", rest: "F32" }],
  ] as const)("stores %s with rest %s as ours does", (experts, rest, storage) => {
    expect(ggufStorage(hostFor(experts, rest, 2))).toEqual(storage);
  });
});

describe("hostFor", () => {
  it("has the whole vocabulary and all layers in blocks, and less in float32", () => {
    const sizes = [...new Set(formats.map(storageOf))].map((experts) => {
      const { config } = hostFor(experts, "same", 3);
      return [experts, config.num_hidden_layers, config.num_experts, config.vocab_size];
    });
    expect(sizes).toEqual([
      ["f32", 2, 24, 8192],
      ["q8", 3, 64, 50304],
      ["q4", 3, 64, 50304],
    ]);
  });

  it("is told in words", () => {
    expect(textOf(hostFor("q4", "same", 2), "q4_32_a8")).toBe("q4_32_a8, 2 layers, V 50304");
    expect(textOf(hostFor("q8", "f16", 1), "q8_32")).toBe("q8_32, rest f16, 1 layer, V 50304");
    expect(textOf(hostFor("f32", "same", 2), "f32")).toBe("f32, 2 layers, E 24, V 8192");
  });
});

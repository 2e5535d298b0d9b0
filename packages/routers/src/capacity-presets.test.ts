import { ConfigError, type RouteSpec, capacityOf, checkRouteSpec } from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  deepspeedCapacity,
  gshardCapacity,
  megatronCapacity,
  switchCapacity,
  tutelCapacity,
  tutelPlaces,
  vmoeCapacity,
} from "./capacity-presets.ts";

const EXPERTS = 4;
const sizeOf = (preset: Pick<RouteSpec, "capacity">, tokens: number, k: number): number => {
  if (!preset.capacity) throw new Error("no capacity");
  return capacityOf(preset.capacity, tokens, k, EXPERTS);
};

describe("capacity presets", () => {
  it("have the places of their sources", () => {
    for (const tokens of [1, 7, 16, 17, 64]) {
      for (const factor of [0.5, 1, 1.25, 2]) {
        const even = tokens / EXPERTS;
        const own = { capacityFactor: factor };
        expect(sizeOf(switchCapacity(own), tokens, 1)).toBe(Math.floor(even * factor));
        expect(sizeOf(gshardCapacity(own), tokens, 2)).toBe(Math.max(4, Math.floor(even * factor)));
        expect(sizeOf(gshardCapacity({ ...own, minimum: 0 }), tokens, 2)).toBe(
          Math.floor(even * factor),
        );
        for (const k of [1, 2, 3]) {
          expect(sizeOf(megatronCapacity(own), tokens, k)).toBe(Math.ceil(even * k * factor));
          const least = { ...own, gate: "topk", minCapacity: 3 } as const;
          expect(sizeOf(deepspeedCapacity(least), tokens, k)).toBe(
            Math.max(3, Math.ceil(even * factor * k)),
          );
          const four = Math.ceil(Math.ceil((tokens * k * factor) / EXPERTS) / 4) * 4;
          expect(sizeOf(vmoeCapacity(own), tokens, k)).toBe(four);
          const tutel = { ...own, topK: k, experts: EXPERTS, tokens };
          const places = k * Math.floor(factor * Math.ceil(even));
          expect(sizeOf(tutelCapacity(tutel), tokens, k)).toBe(places);
          expect(tutelPlaces({ ...tutel, capacityFactor: -factor })).toBe(places);
          expect(tutelPlaces({ ...tutel, alignment: 8 }) % 8).toBe(0);
        }
      }
    }
    expect(
      tutelCapacity({ capacityFactor: 0, topK: 2, experts: 4, tokens: 8 }).capacity,
    ).toBeUndefined();
  });

  it("say who comes first, and when weights are renormalised", () => {
    const own = { capacityFactor: 1 };
    const tutel = { ...own, topK: 2, experts: 4, tokens: 8 };
    const machine = { epsilon: "machine", guard: "max" };
    const rows: readonly (readonly [
      Pick<RouteSpec, "capacity" | "renormalize">,
      string,
      string,
      unknown,
    ])[] = [
      [switchCapacity(own), "sequence", "position", undefined],
      [gshardCapacity(own), "sequence", "choice", { epsilon: 1e-9, when: "before" }],
      [deepspeedCapacity({ ...own, gate: "top1" }), "batch", "random", undefined],
      [deepspeedCapacity({ ...own, gate: "top1", useRts: false }), "batch", "position", undefined],
      [
        deepspeedCapacity({ ...own, gate: "top2" }),
        "batch",
        "choice",
        { ...machine, when: "after" },
      ],
      [
        deepspeedCapacity({ ...own, gate: "topk" }),
        "batch",
        "probability",
        { ...machine, when: "after" },
      ],
      [
        deepspeedCapacity({ gate: "topk", dropPolicy: "position" }),
        "batch",
        "position",
        { ...machine, when: "after" },
      ],
      [megatronCapacity(own), "batch", "probability", undefined],
      [megatronCapacity({ ...own, dropPolicy: "position" }), "batch", "position", undefined],
      [vmoeCapacity(own), "sequence", "choice", undefined],
      [vmoeCapacity({ ...own, batchPriority: true }), "sequence", "prioritized", undefined],
      [tutelCapacity(tutel), "batch", "choice", { ...machine, skipSingle: true }],
      [
        tutelCapacity({ ...tutel, batchPrioritizedRouting: true }),
        "batch",
        "prioritized",
        { ...machine, skipSingle: true },
      ],
    ];
    for (const [preset, per, order, renormalize] of rows) {
      expect(preset.capacity).toMatchObject({ per, order });
      expect(preset.renormalize).toEqual(renormalize);
      const spec: RouteSpec = { experts: 4, topK: 2, score: "softmax", ...preset };
      expect(() => checkRouteSpec(spec)).not.toThrow();
    }
  });

  it("refuse what gives nobody a place", () => {
    for (const capacityFactor of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const make of [switchCapacity, gshardCapacity, megatronCapacity, vmoeCapacity]) {
        expect(() => make({ capacityFactor })).toThrow(ConfigError);
        expect(() => make({ capacityFactor })).toThrow(String(capacityFactor));
      }
      expect(() => deepspeedCapacity({ gate: "top2", capacityFactor })).toThrow(ConfigError);
    }
    expect(() => deepspeedCapacity({ gate: "top3" as never })).toThrow(/top3/);
    expect(() => megatronCapacity({ capacityFactor: 1, dropPolicy: "all" as never })).toThrow(
      /all/,
    );
    const tutel = { topK: 1, experts: 4, tokens: 8 };
    expect(() => tutelCapacity({ ...tutel, capacityFactor: Number.NaN })).toThrow(ConfigError);
    expect(() => tutelCapacity({ ...tutel, alignment: 0 })).toThrow(/alignment/);
  });
});

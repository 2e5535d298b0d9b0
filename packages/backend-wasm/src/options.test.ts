import { ConfigError, UnsupportedError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { type WasmOptions, readOptions } from "./options.ts";
import type { Features } from "./probe.ts";

const ALL: Features = { simd: true, relaxedMadd: true, relaxedDot: true, sharedMemory: true };

describe("options", () => {
  it.each([
    ["threads", 0],
    ["threads", 65],
    ["threads", 1.5],
    ["threads", Number.NaN],
    ["threads", "2"],
    ["threads", null],
    ["memoryLimit", 0],
    ["memoryLimit", -1],
    ["memoryLimit", Number.NaN],
    ["memoryLimit", "1 GB"],
    ["patience", 0],
    ["patience", null],
    ["exact", "yes"],
    ["exact", 1],
    ["relaxedSimd", "auto"],
  ])("refuses %s = %o, by its key", async (key, value) => {
    const options = { [key]: value } as WasmOptions;
    expect(() => readOptions(options, ALL, 4)).toThrow(ConfigError);
    const refused = create(options);
    await expect(refused).rejects.toMatchObject({ code: "CONFIG", key, value });
    await expect(refused).rejects.toThrow(new RegExp(`^${key} is [^\n]*, but must be [^\n]*$`));
  });

  it("has defaults that follow the engine", () => {
    expect(readOptions({}, ALL, 4)).toEqual({
      threads: 4,
      threadsNote: undefined,
      fused: true,
      relaxedDot: true,
      memoryLimit: Infinity,
      patience: 10_000,
    });
    expect(readOptions({}, ALL, 200).threads).toBe(16);
    expect(readOptions({ threads: 64 }, ALL, 2).threads).toBe(64);
  });

  it("has one thread where memory is not shared, and says so where more was to be expected", () => {
    const alone = { ...ALL, sharedMemory: false };
    expect(readOptions({ threads: 4 }, alone, 4)).toMatchObject({
      threads: 1,
      threadsNote: expect.stringMatching(/no shared memory/),
    });
    expect(readOptions({}, alone, 4).threadsNote).toMatch(/no shared memory/);
    expect(readOptions({}, alone, 1).threadsNote).toBeUndefined();
    expect(readOptions({ threads: 1 }, alone, 4).threadsNote).toBeUndefined();
  });

  it("uses relaxed instructions as far as they are right and allowed", () => {
    const used = (options: WasmOptions, features: Partial<Features> = {}): boolean[] => {
      const { fused, relaxedDot } = readOptions(options, { ...ALL, ...features }, 2);
      return [fused, relaxedDot];
    };
    expect(used({})).toEqual([true, true]);
    // Sums of integers are exact either way.
    expect(used({ exact: true })).toEqual([false, true]);
    expect(used({ relaxedSimd: false })).toEqual([false, false]);
    expect(used({}, { relaxedDot: false })).toEqual([true, false]);
    expect(used({}, { relaxedMadd: false, relaxedDot: false })).toEqual([false, false]);
    expect(used({ relaxedSimd: true }, { relaxedDot: false })).toEqual([true, false]);
    expect(() => used({ relaxedSimd: true }, { relaxedMadd: false })).toThrow(UnsupportedError);
  });

  it("needs SIMD", () => {
    const old = { ...ALL, simd: false };
    expect(() => readOptions({}, old, 1)).toThrow(UnsupportedError);
    expect(() => readOptions({}, old, 1)).toThrow(/no WebAssembly SIMD/);
  });
});

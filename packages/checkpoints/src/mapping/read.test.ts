import { ConfigError, DTypeError, FormatError, type Shape, ShapeError, sizeOf } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostEntry } from "../host/encode.ts";
import type { HostTensor } from "../host/tensor.ts";
import type { SafetensorsDtype } from "../safetensors/dtype.ts";
import { type SafetensorsFile, openSafetensors } from "../safetensors/read.ts";
import { type TensorEntry, encodeSafetensors } from "../safetensors/write.ts";
import { bytesSource } from "../source.ts";
import { type TensorBinding, bindRules } from "./bind.ts";
import { readPath } from "./read.ts";
import type { RuleSizes, TensorRule } from "./rule.ts";
import { splitPath } from "./split.ts";

function bindOne(rule: TensorRule, shape: Shape, sizes: RuleSizes = {}): TensorBinding {
  const [binding] = bindRules([rule], sizes, new Map([[rule.path, shape]]));
  return binding ?? expect.fail("nothing was bound");
}

async function fileOf(entries: Iterable<TensorEntry>): Promise<SafetensorsFile> {
  return openSafetensors(bytesSource(await encodeSafetensors(entries)));
}

const f32 = (shape: Shape, data: number[]): HostTensor<"f32"> => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(data),
});

describe("readPath", () => {
  it("puts gate over up, expert after expert", async () => {
    const rule: TensorRule = { path: "gateUp", names: ["{expert}.gate", "{expert}.up"] };
    const binding = bindOne(rule, [2, 2, 2], { expert: 2 });
    const file = await fileOf([
      hostEntry("0.gate", f32([1, 2], [1, 2])),
      hostEntry("0.up", f32([1, 2], [3, 4])),
      hostEntry("1.gate", f32([1, 2], [5, 6]), "BF16"),
      hostEntry("1.up", f32([1, 2], [7, 8]), "F64"),
    ]);
    expect(await readPath(file, binding, "f32")).toEqual(f32([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]));
    expect((await readPath(file, binding, "f64")).data).toEqual(
      Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    );
  });

  it("transposes each name before it concatenates", async () => {
    const binding = bindOne({ path: "w", names: ["a", "b"], transpose: true }, [4, 3]);
    const file = await fileOf([
      hostEntry("a", f32([3, 2], [1, 4, 2, 5, 3, 6])),
      hostEntry("b", f32([3, 2], [7, 10, 8, 11, 9, 12])),
    ]);
    const { data } = await readPath(file, binding, "f32");
    expect([...data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it("reads integers", async () => {
    const table: HostTensor = { dtype: "i32", shape: [2], data: Int32Array.of(3, -4) };
    const file = await fileOf([hostEntry("t", table, "I64")]);
    const binding = bindOne({ path: "t", names: ["t"] }, [2]);
    expect(await readPath(file, binding, "i32")).toEqual(table);
    await expect(readPath(file, binding, "f32")).rejects.toThrow(DTypeError);
  });

  it("reads tensors larger than what is held at once", async () => {
    const shape = [3, 1000, 701];
    const data = Float32Array.from({ length: sizeOf(shape) }, (_, index) => (index % 256) - 128);
    const host: HostTensor = { dtype: "f32", shape, data };
    for (const [transpose, dtype] of [
      [false, "BF16"],
      [true, "F32"],
      [true, "F64"],
    ] as const) {
      const binding = bindOne({ path: "w", names: ["w"], transpose }, shape);
      const file = await fileOf(splitPath(binding, host, dtype));
      expect(file.tensors.get("w")?.shape).toEqual(transpose ? [3, 701, 1000] : shape);
      const again = await readPath(file, binding, "f32");
      expect(Buffer.compare(Buffer.from(again.data.buffer), Buffer.from(data.buffer))).toBe(0);
    }
  });

  it("reads straight into the result where bytes stay the same", async () => {
    const targets: ArrayBufferLike[] = [];
    const bytes = await encodeSafetensors([hostEntry("w", f32([2], [1, 2]))]);
    const file = await openSafetensors({
      ...bytesSource(bytes),
      readInto: async (offset, target) => {
        targets.push(target.buffer);
        target.set(bytes.subarray(offset, offset + target.length));
      },
    });
    const { data } = await readPath(file, bindOne({ path: "w", names: ["w"] }, [2]), "f32");
    expect([...data]).toEqual([1, 2]);
    expect(targets).toEqual([data.buffer]);
  });

  it("refuses a tensor that is missing or of another shape", async () => {
    const file = await fileOf([hostEntry("w", f32([2], [1, 2]))]);
    const missing = readPath(file, bindOne({ path: "v", names: ["v"] }, [2]), "f32");
    await expect(missing).rejects.toThrow(ConfigError);
    const misshaped = readPath(file, bindOne({ path: "w", names: ["w"] }, [1, 2]), "f32");
    await expect(misshaped).rejects.toThrow(FormatError);
    await expect(misshaped).rejects.toThrow(
      'w needs the tensor "w" in shape [1, 2], but it is [2]',
    );
  });
});

describe("splitPath", () => {
  it("is undone by readPath, whatever the rule, shape and dtype", async () => {
    const cases = fc.record({
      experts: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      names: fc.integer({ min: 1, max: 3 }),
      rows: fc.nat({ max: 3 }),
      rest: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 2 }),
      transpose: fc.boolean(),
      stored: fc.constantFrom<SafetensorsDtype>("F32", "F64", "F16", "BF16"),
      dtype: fc.constantFrom("f32", "f64"),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ experts, names, rows, rest, transpose, stored, dtype }) => {
        const pattern = experts === undefined ? "w" : "{expert}.w";
        const rule: TensorRule = {
          path: "w",
          names: Array.from({ length: names }, (_, index) => `${pattern}${index}`),
          transpose,
        };
        const inner = [rows * names, ...rest];
        const shape = experts === undefined ? inner : [experts, ...inner];
        const binding = bindOne(rule, shape, { expert: experts });
        const values = Array.from({ length: sizeOf(shape) }, (_, index) => index - 7);
        const host: HostTensor =
          dtype === "f32"
            ? { dtype: "f32", shape, data: Float32Array.from(values) }
            : { dtype: "f64", shape, data: Float64Array.from(values) };
        const file = await fileOf(splitPath(binding, host, stored));
        expect(file.tensors.size).toBe(names * (experts ?? 1));
        expect(await readPath(file, binding, host.dtype)).toEqual(host);
      }),
      { seed: 12, numRuns: 200 },
    );
  });

  it("is undone by readPath where a tensor holds all experts at once", async () => {
    const cases = fc.record({
      axes: fc.constantFrom(undefined, "joined"),
      experts: fc.integer({ min: 1, max: 3 }),
      split: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 3 }),
      width: fc.nat({ max: 3 }),
      transpose: fc.boolean(),
      stored: fc.constantFrom<SafetensorsDtype>("F32", "F64", "BF16"),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ axes, experts, split, width, transpose, stored }) => {
        const names = split.map((_, index) => `w${index}`);
        const rule: TensorRule = { path: "w", names, split, transpose, axes, stacked: true };
        const rows = split.reduce((sum, share) => sum + share, 0);
        const shape = [experts, rows, width];
        const binding = bindOne(rule, shape);
        const data = Float64Array.from({ length: sizeOf(shape) }, (_, index) => index - 7);
        const host: HostTensor = { dtype: "f64", shape, data };
        const file = await fileOf(splitPath(binding, host, stored));
        const last = split.length - 1;
        const own = transpose ? [width, split[last] ?? 0] : [split[last] ?? 0, width];
        const [first = 0, second = 0] = own;
        const held = axes === undefined ? [experts, ...own] : [experts * first, second];
        expect(file.tensors.get(`w${last}`)?.shape).toEqual(held);
        expect(await readPath(file, binding, "f64")).toEqual(host);
      }),
      { seed: 13, numRuns: 200 },
    );
  });

  it("reads gate and up of all experts, and transposes each expert by itself", async () => {
    const file = await fileOf([
      hostEntry("gate", f32([2, 1, 2], [1, 2, 5, 6])),
      hostEntry("up", f32([2, 1, 2], [3, 4, 7, 8])),
      hostEntry("down", f32([4, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
    ]);
    const gateUp: TensorRule = { path: "gateUp", names: ["gate", "up"], stacked: true };
    const read = await readPath(file, bindOne(gateUp, [2, 2, 2]), "f32");
    expect([...read.data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const down: TensorRule = {
      path: "d",
      names: ["down"],
      stacked: true,
      axes: "joined",
      transpose: true,
    };
    const turned = await readPath(file, bindOne(down, [2, 3, 2]), "f32");
    expect([...turned.data]).toEqual([1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]);
  });

  it("writes what the host holds unless told otherwise", () => {
    const binding = bindOne({ path: "w", names: ["a", "b"] }, [2]);
    const entries = splitPath(binding, { dtype: "f64", shape: [2], data: Float64Array.of(1, 2) });
    expect(entries.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ["a", "F64", [1]],
      ["b", "F64", [1]],
    ]);
  });

  it("refuses values of another shape or dtype", () => {
    const binding = bindOne({ path: "w", names: ["a"], transpose: true }, [2, 1]);
    expect(() => splitPath(binding, f32([1, 2], [1, 2]))).toThrow(ShapeError);
    expect(() => splitPath(binding, f32([2, 1], [1, 2]), "I32")).toThrow(DTypeError);
  });
});

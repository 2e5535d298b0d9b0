import { ConfigError, DTypeError, FormatError, type Shape } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { e4m3ToF32Bits } from "../host/float-bits.ts";
import { hostEntry } from "../host/encode.ts";
import { openSafetensors } from "../safetensors/read.ts";
import { type TensorEntry, encodeSafetensors } from "../safetensors/write.ts";
import { bytesSource } from "../source.ts";
import { type TensorBinding, bindRules } from "./bind.ts";
import { checkTensors } from "./check.ts";
import { readPath } from "./read.ts";
import type { TensorRule } from "./rule.ts";

const storage = { kind: "scaledBlocks", blockSize: [3, 4] } as const;

function bindOne(rule: Partial<TensorRule>, shape: Shape): TensorBinding {
  const whole: TensorRule = { path: "w", names: ["w"], storage, ...rule };
  const [binding] = bindRules([whole], {}, new Map([["w", shape]]));
  return binding ?? expect.fail("nothing was bound");
}

async function fileOf(...entries: TensorEntry[]) {
  return openSafetensors(bytesSource(await encodeSafetensors(entries)));
}

const codes = (shape: Shape): TensorEntry => ({
  name: "w",
  dtype: "F8_E4M3",
  shape,
  bytes: () =>
    Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, index) => index % 126),
});

const factors = (shape: Shape, data: number[]): TensorEntry =>
  hostEntry("w_scale_inv", { dtype: "f32", shape, data: Float32Array.from(data) });

const valueOf = (code: number): number =>
  new Float32Array(Uint32Array.of(e4m3ToF32Bits(code)).buffer)[0] ?? Number.NaN;

describe("F8 with a factor for each block", () => {
  it.each([false, true])(
    "multiplies every value by its block's factor (transposed: %s)",
    async (transpose) => {
      const [experts, rows, columns] = [2, 7, 9];
      const data = Array.from({ length: experts * 3 * 3 }, (_, index) => 0.1 + index / 7);
      const file = await fileOf(codes([experts, rows, columns]), factors([experts, 3, 3], data));
      const shape = transpose ? [experts, columns, rows] : [experts, rows, columns];
      const binding = bindOne({ transpose }, shape);
      expect(checkTensors([binding], file.tensors)).toMatchObject({ missing: [], unexpected: [] });
      const read = await readPath(file, binding, "f32");
      for (let index = 0; index < experts * rows * columns; index++) {
        const expert = Math.floor(index / (rows * columns));
        const row = Math.floor(index / columns) % rows;
        const column = index % columns;
        const block = expert * 9 + Math.floor(row / 3) * 3 + Math.floor(column / 4);
        const expected = Math.fround(valueOf(index % 126) * Math.fround(data[block] ?? 0));
        const at = transpose ? (expert * columns + column) * rows + row : index;
        expect(read.data[at]).toBe(expected);
      }
    },
  );

  it("reads other dtypes as they are, and wants the factors of F8", async () => {
    const binding = bindOne({}, [2, 2]);
    const plain = hostEntry("w", {
      dtype: "f32",
      shape: [2, 2],
      data: Float32Array.of(1, 2, 3, 4),
    });
    expect([...(await readPath(await fileOf(plain), binding, "f32")).data]).toEqual([1, 2, 3, 4]);
    const alone = await fileOf(codes([2, 2]));
    expect(checkTensors([binding], alone.tensors).missing).toEqual([
      { name: "w_scale_inv", path: "w" },
    ]);
    await expect(readPath(alone, binding, "f32")).rejects.toThrow(ConfigError);
  });

  it("refuses factors of another shape or that are not finite, and integers", async () => {
    const binding = bindOne({}, [4, 4]);
    const wrong = await fileOf(codes([4, 4]), factors([1, 2], [1, 1]));
    await expect(readPath(wrong, binding, "f32")).rejects.toThrow(FormatError);
    const bad = await fileOf(codes([4, 4]), factors([2, 1], [1, Number.NaN]));
    const failure = await readPath(bad, binding, "f32").catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FormatError);
    expect((failure as FormatError).offset).toBe((bad.tensors.get("w_scale_inv")?.offset ?? 0) + 4);
    const good = await fileOf(codes([4, 4]), factors([2, 1], [1, 1]));
    await expect(readPath(good, binding, "i32")).rejects.toThrow(DTypeError);
  });

  it("refuses blocks without a size", () => {
    const none = { kind: "scaledBlocks", blockSize: [0, 1] } as const;
    expect(() => bindOne({ storage: none }, [1, 1])).toThrow(ConfigError);
  });
});

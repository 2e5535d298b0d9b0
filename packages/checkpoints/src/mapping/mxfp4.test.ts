import { DTypeError, FormatError, NumericError, type Shape } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { openSafetensors } from "../safetensors/read.ts";
import { type TensorEntry, encodeSafetensors } from "../safetensors/write.ts";
import { bytesSource } from "../source.ts";
import { type TensorBinding, bindRules } from "./bind.ts";
import { CheckpointMismatchError, checkTensors, requireMatch } from "./check.ts";
import { readPath } from "./read.ts";
import type { TensorRule } from "./rule.ts";

function bindOne(rule: Partial<TensorRule>, shape: Shape): TensorBinding {
  const whole: TensorRule = { path: "w", names: ["w"], storage: { kind: "mxfp4" }, ...rule };
  const [binding] = bindRules([whole], {}, new Map([["w", shape]]));
  return binding ?? expect.fail("nothing was bound");
}

const u8 = (name: string, shape: Shape, bytes: ArrayLike<number>): TensorEntry => ({
  name,
  dtype: "U8",
  shape,
  bytes: () => Uint8Array.from(bytes),
});

async function fileOf(...entries: TensorEntry[]) {
  return openSafetensors(bytesSource(await encodeSafetensors(entries)));
}

/** F4 E2M1 by its fields, as the specification of microscaling formats defines it. */
function e2m1(code: number): number {
  const sign = code & 8 ? -1 : 1;
  const exponent = (code >> 1) & 3;
  const mantissa = code & 1;
  return exponent === 0 ? sign * mantissa * 0.5 : sign * (1 + mantissa / 2) * 2 ** (exponent - 1);
}

/** Every code under a scale in the low half of a byte and, in other order, in the high half. */
const allCodes = Uint8Array.from({ length: 16 }, (_, code) => code | ((15 - code) << 4));

describe("MXFP4", () => {
  it("reads all codes under all scales, and refuses the scale that is NaN", async () => {
    for (let scale = 0; scale < 256; scale++) {
      const file = await fileOf(
        u8("w_blocks", [1, 1, 16], allCodes),
        u8("w_scales", [1, 1], [scale]),
      );
      const reading = readPath(file, bindOne({ transpose: true }, [1, 32]), "f64");
      if (scale === 255) {
        const failure = await reading.catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(FormatError);
        expect((failure as FormatError).offset).toBe(file.tensors.get("w_scales")?.offset);
        continue;
      }
      const { data } = await reading;
      const wrong = [...data].filter((value, index) => {
        const code = index % 2 === 0 ? index / 2 : 15 - (index - 1) / 2;
        return !Object.is(value, e2m1(code) * 2 ** (scale - 127));
      });
      expect(wrong, `scale ${scale}`).toEqual([]);
    }
  });

  it("turns each expert round as transformers does", async () => {
    // `convert_moe_packed_tensors` (transformers 4.57): codes [E, R, C/32, 16], then (1, 2) swapped.
    const [experts, rows, columns] = [3, 5, 64];
    const count = experts * rows * columns;
    const blocks = Uint8Array.from({ length: count / 2 }, (_, at) => (at * 37 + (at >> 3)) % 256);
    const scales = Uint8Array.from({ length: count / 32 }, (_, at) => 120 + ((at * 5) % 13));
    const expected = new Float32Array(count);
    for (let index = 0; index < count; index++) {
      const byte = blocks[index >> 1] ?? 0;
      const code = index % 2 === 0 ? byte & 15 : byte >> 4;
      const value = e2m1(code) * 2 ** ((scales[index >> 5] ?? 0) - 127);
      const expert = Math.floor(index / (rows * columns));
      const row = Math.floor(index / columns) % rows;
      expected[(expert * columns + (index % columns)) * rows + row] = value;
    }
    const file = await fileOf(
      u8("w_blocks", [experts, rows, 2, 16], blocks),
      u8("w_scales", [experts, rows, 2], scales),
    );
    const binding = bindOne({}, [experts, columns, rows]);
    requireMatch(checkTensors([binding], file.tensors), "here");
    const { data } = await readPath(file, binding, "f32");
    expect(data).toEqual(expected);
    const straight = bindOne({ transpose: true }, [experts, rows, columns]);
    expect((await readPath(file, straight, "f64")).data[columns]).toBe(expected[1]);
  });

  it("reads plain values where they are there", async () => {
    const values = Float32Array.of(1, 2);
    const bytes = (): Uint8Array => new Uint8Array(values.buffer);
    const file = await fileOf({ name: "w", dtype: "F32", shape: [1, 2], bytes });
    expect((await readPath(file, bindOne({}, [1, 2]), "f32")).data).toEqual(values);
  });

  it("names what is missing or misshaped", async () => {
    const binding = bindOne({}, [1, 64, 2]);
    const lacking = await fileOf(u8("w_blocks", [1, 2, 2, 16], new Uint8Array(64)));
    expect(checkTensors([binding], lacking.tensors).missing).toEqual([
      { name: "w_scales", path: "w" },
    ]);
    const other = await fileOf(
      u8("w_blocks", [1, 64], new Uint8Array(64)),
      u8("w_scales", [1, 2, 2], [1, 1, 1, 1]),
    );
    const report = checkTensors([binding], other.tensors);
    expect(report.misshaped).toMatchObject([{ name: "w_blocks", expected: [1, 2, 2, 16] }]);
    expect(() => requireMatch(report, "here")).toThrow(CheckpointMismatchError);
    await expect(readPath(other, binding, "f32")).rejects.toThrow(FormatError);
    const none = await fileOf(u8("x", [1], [1]));
    expect(checkTensors([binding], none.tensors).missing).toEqual([{ name: "w", path: "w" }]);
  });

  it("refuses other dtypes, parts of blocks, and values beyond f32", async () => {
    const pair = (scale: number) => [
      u8("w_blocks", [1, 1, 16], allCodes),
      u8("w_scales", [1, 1], [scale]),
    ];
    const file = await fileOf(...pair(254));
    const binding = bindOne({ transpose: true }, [1, 32]);
    await expect(readPath(file, binding, "f32")).rejects.toThrow(NumericError);
    await expect(readPath(file, binding, "i32")).rejects.toThrow(DTypeError);
    const partly = bindOne({ transpose: true }, [1, 20]);
    await expect(readPath(file, partly, "f32")).rejects.toThrow("no whole blocks of 32");
    const [blocks] = pair(0);
    const signed: TensorEntry = { ...u8("w_scales", [1, 1], [1]), dtype: "I8" };
    const wrong = await fileOf(blocks ?? signed, signed);
    await expect(readPath(wrong, binding, "f32")).rejects.toThrow('"w_scales" is I8');
    await expect(readPath(await fileOf(...pair(252)), binding, "f32")).resolves.toBeDefined();
  });
});

import {
  type Backend,
  type DType,
  type HostArray,
  type Shape,
  broadcast,
  concat,
  donate,
  fill,
  hostArray,
  iota,
  pad,
  slice,
  transpose,
  writeSlice,
} from "@moiety/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { create } from "./index.ts";
import { at, count, indicesOf, valuesOf } from "./testing/naive.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});

const DTYPES: DType[] = ["f32", "f64", "i32", "u32", "bool", "f16", "bf16", "u8"];

/** 0, 1, 2, … modulo 251 (modulo 2 for booleans), which every dtype holds. */
function ramp(shape: Shape, dtype: DType): HostArray {
  const array = hostArray(dtype, count(shape));
  for (let index = 0; index < array.length; index++)
    array[index] = index % (dtype === "bool" ? 2 : 251);
  return array;
}

const make = (shape: Shape, dtype: DType = "f32") =>
  backend.tensor(ramp(shape, dtype), { shape, dtype });

describe.each(DTYPES)("%s", (dtype) => {
  it("moves, repeats, cuts, joins and pads", async () => {
    const shape = [2, 3, 4];
    const x = make(shape, dtype);
    const source = ramp(shape, dtype);
    const moved = transpose(x, { permutation: [2, 0, 1] });
    expect(await valuesOf(moved)).toEqual(
      indicesOf([4, 2, 3]).map(([a = 0, b = 0, c = 0]) => at(source, shape, [b, c, a])),
    );
    const repeated = broadcast(x.reshape([2, 3, 1, 4]), { shape: [5, 2, 3, 2, 4] });
    expect(await valuesOf(repeated)).toEqual(
      indicesOf([5, 2, 3, 2, 4]).map((index) => at(source, [2, 3, 1, 4], index)),
    );
    const cut = slice(x, { starts: [1, 0, 1], sizes: [1, 2, 3] });
    expect(await valuesOf(cut)).toEqual(
      indicesOf([1, 2, 3]).map(([, b = 0, c = 0]) => at(source, shape, [1, b, c + 1])),
    );
    for (const axis of [0, 1, 2]) {
      const joined = concat(x, x, { axis });
      const size = shape[axis] ?? 0;
      expect(await valuesOf(joined)).toEqual(
        indicesOf(shape.with(axis, 2 * size)).map((index) =>
          at(source, shape, index.with(axis, (index[axis] ?? 0) % size)),
        ),
      );
    }
    const code = await fill(backend, { shape: [1], value: 1, dtype }).read();
    const padded = pad(x, { before: [0, 1, 2], after: [1, 0, 1], value: 1 });
    expect(await valuesOf(padded)).toEqual(
      indicesOf([3, 4, 7]).map(([a = 0, b = 0, c = 0]) =>
        a < 2 && b >= 1 && c >= 2 && c < 6 ? at(source, shape, [a, b - 1, c - 2]) : code[0],
      ),
    );
  });

  it("keeps bits that mean nothing as numbers", async () => {
    if (dtype !== "f32" && dtype !== "f64") return;
    const words = dtype === "f32" ? 1 : 2;
    const bits = Uint32Array.from({ length: 64 * words }, () => 0x7fa00001);
    const bytes = new Uint8Array(bits.buffer);
    const upload = backend.upload({ shape: [8, 8], dtype: "f32" });
    upload.write(0, bytes.subarray(0, 256));
    const out = await transpose(upload.finish(), { permutation: [1, 0] }).read();
    expect([...new Uint32Array(out.buffer, out.byteOffset, 64)]).toEqual([...bits.subarray(0, 64)]);
  });
});

describe("transpose", () => {
  it("agrees with indexing for every permutation and odd sizes", async () => {
    const permutations: [Shape, number[]][] = [
      [
        [33, 65],
        [1, 0],
      ],
      [
        [1, 7],
        [1, 0],
      ],
      [
        [0, 7],
        [1, 0],
      ],
      [
        [3, 5, 2, 24],
        [0, 2, 1, 3],
      ],
      [
        [3, 5, 2, 50],
        [0, 2, 1, 3],
      ],
      [
        [3, 5, 2, 4],
        [3, 2, 1, 0],
      ],
      [
        [3, 5, 2, 4],
        [1, 0, 3, 2],
      ],
      [
        [3, 5, 2, 4],
        [0, 1, 2, 3],
      ],
      [
        [40, 2, 33],
        [2, 1, 0],
      ],
      [
        [40, 2, 33],
        [0, 2, 1],
      ],
      [[6], [0]],
      [[], []],
    ];
    for (const [shape, permutation] of permutations) {
      const source = ramp(shape, "i32");
      const out = transpose(make(shape, "i32"), { permutation });
      const target = permutation.map((axis) => shape[axis] ?? 0);
      expect(await valuesOf(out)).toEqual(
        indicesOf(target).map((index) =>
          at(
            source,
            shape,
            shape.map((_, axis) => index[permutation.indexOf(axis)] ?? 0),
          ),
        ),
      );
    }
  });
});

describe("writeSlice", () => {
  const boxes = fc
    .array(fc.record({ size: fc.nat({ max: 5 }), from: fc.nat(), part: fc.nat() }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((axes) => {
      const shape = axes.map(({ size }) => size);
      const sizes = axes.map(({ size, part }) => part % (size + 1));
      const starts = axes.map(({ size, from }, axis) => from % (size - (sizes[axis] ?? 0) + 1));
      return { shape, sizes, starts };
    });

  it("writes a box, in place where donated, and undoes slice", async () => {
    await fc.assert(
      fc.asyncProperty(boxes, fc.boolean(), async ({ shape, sizes, starts }, donated) => {
        const target = make(shape);
        const source = ramp(shape, "f32");
        const update = backend.tensor(
          Float32Array.from({ length: count(sizes) }, (_, i) => -1 - i),
          { shape: sizes },
        );
        const before = backend.statistics().liveBuffers;
        const out = writeSlice(donated ? donate(target) : target, update, { starts });
        expect(backend.statistics().liveBuffers).toBe(donated ? before : before + 1);
        const values = await valuesOf(out);
        const box = indicesOf(sizes).map((index) =>
          index.map((place, axis) => place + (starts[axis] ?? 0)),
        );
        const keys = box.map(String);
        expect(values).toEqual(
          indicesOf(shape).map((index) => {
            const place = keys.indexOf(String(index));
            return place < 0 ? at(source, shape, index) : -1 - place;
          }),
        );
        expect(await valuesOf(slice(out, { starts, sizes }))).toEqual(await valuesOf(update));
        if (!donated) expect(await valuesOf(target)).toEqual([...source]);
      }),
      { numRuns: 100 },
    );
  });

  it("does not write into a donated update", async () => {
    const target = backend.tensor([7, 8, 9]);
    const out = writeSlice(target, donate(make([3])), { starts: [0] });
    expect(await valuesOf(target)).toEqual([7, 8, 9]);
    expect(await valuesOf(out)).toEqual([0, 1, 2]);
  });
});

describe("concat", () => {
  it("joins one, many and empty parts", async () => {
    const parts = [make([2, 1]), make([2, 0]), make([2, 3])];
    expect(await valuesOf(concat(...parts, { axis: 1 }))).toEqual([0, 0, 1, 2, 1, 3, 4, 5]);
    expect(await valuesOf(concat(make([2]), { axis: 0 }))).toEqual([0, 1]);
  });
});

describe("fill and iota", () => {
  it("counts along each axis", async () => {
    for (const axis of [0, 1, 2]) {
      const out = iota(backend, { shape: [2, 3, 4], axis, dtype: "i32" });
      expect(await valuesOf(out)).toEqual(indicesOf([2, 3, 4]).map((index) => index[axis] ?? -1));
    }
    expect(await valuesOf(iota(backend, { shape: [0], axis: 0, dtype: "f32" }))).toEqual([]);
    expect(await valuesOf(iota(backend, { shape: [2, 0], axis: 0, dtype: "f32" }))).toEqual([]);
  });

  it("fills with the rounded value", async () => {
    expect(await valuesOf(fill(backend, { shape: [2, 1], value: 0.1, dtype: "f32" }))).toEqual([
      Math.fround(0.1),
      Math.fround(0.1),
    ]);
    expect(await valuesOf(fill(backend, { shape: [], value: 0.1, dtype: "f64" }))).toEqual([0.1]);
    expect(await valuesOf(fill(backend, { shape: [1], value: 2 ** 32 - 1, dtype: "u32" }))).toEqual(
      [2 ** 32 - 1],
    );
  });
});

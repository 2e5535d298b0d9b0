import {
  type Backend,
  type DType,
  type Shape,
  type Tensor,
  broadcast,
  cast,
  concat,
  donate,
  hostBits,
  iota,
  pad,
  randomKey,
  sizeOf,
  slice,
  transpose,
  writeSlice,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

/** One of each element size and kind: bits are moved, whatever they mean. */
const DTYPES: readonly DType[] = ["f32", "i32", "bool", "f16", "bf16", "u8"];

/** Bits that differ from element to element; NaN and all. */
function bitsTensor(backend: Backend, seed: number, shape: Shape, dtype: DType): Tensor {
  const bits = hostBits(randomKey(seed), sizeOf(shape));
  if (dtype === "u8") return backend.tensor(Uint8Array.from(bits), { shape });
  if (dtype === "f16" || dtype === "bf16") {
    return backend.tensor(Uint16Array.from(bits), { shape, dtype });
  }
  if (dtype === "bool")
    return backend.tensor(
      bits.map((word) => word & 1),
      { shape, dtype },
    );
  if (dtype === "i32") return backend.tensor(Int32Array.from(bits), { shape });
  return backend.tensor(
    Float32Array.from(bits, (word) => word / 7),
    { shape },
  );
}

describe.skipIf(!gpu.available)("layout", () => {
  let pairs: readonly Pair[];
  beforeAll(async () => {
    pairs = [await createPair(), await createPair({ segmentBytes: 256, limits: "default" })];
  });
  afterAll(async () => {
    await Promise.all(pairs.map((pair) => pair.dispose()));
  });

  const checkAll: Pair["agree"] = async (program, tolerance) => {
    for (const { agree } of pairs) await agree(program, tolerance);
  };

  /** Runs a program for every dtype, whole and in segments. */
  async function checkEverywhere(
    program: (backend: Backend, make: (seed: number, shape: Shape) => Tensor) => Tensor[],
  ): Promise<void> {
    for (const dtype of DTYPES) {
      for (const { agree } of pairs) {
        await agree(
          (backend) => program(backend, (seed, shape) => bitsTensor(backend, seed, shape, dtype)),
          0,
        ).catch((cause: unknown) => expect.fail(`${dtype}: ${String(cause)}`));
      }
    }
  }

  it.each([
    [[], [3]],
    [[1], [5]],
    [
      [3, 1],
      [3, 8],
    ],
    [
      [3, 1],
      [3, 5],
    ],
    [[8], [3, 8]],
    [[5], [3, 5]],
    [
      [2, 1, 4],
      [2, 3, 4],
    ],
    [
      [2, 1, 3],
      [5, 2, 3, 3],
    ],
    [
      [1, 4],
      [0, 4],
    ],
    [
      [6, 7],
      [6, 7],
    ],
    [
      [1, 130],
      [3, 130],
    ],
  ] as const)("broadcasts %j to %j", (from, shape) =>
    checkEverywhere((_, make) => [broadcast(make(1, from), { shape })]),
  );

  it.each([
    [[5], [0]],
    [
      [4, 8],
      [1, 0],
    ],
    [
      [5, 7],
      [1, 0],
    ],
    [
      [3, 4, 8],
      [1, 0, 2],
    ],
    [
      [3, 4, 5],
      [1, 0, 2],
    ],
    [
      [3, 4, 5],
      [2, 1, 0],
    ],
    [
      [3, 4, 5],
      [0, 1, 2],
    ],
    [
      [2, 3, 4, 5],
      [3, 1, 0, 2],
    ],
    [
      [2, 3, 2, 3, 4],
      [4, 2, 0, 1, 3],
    ],
    [
      [2, 3, 1, 2, 2, 3],
      [5, 0, 3, 2, 4, 1],
    ],
    [
      [0, 4],
      [1, 0],
    ],
    [
      [33, 65],
      [1, 0],
    ],
  ] as const)("transposes %j by %j", (shape, permutation) =>
    checkEverywhere((_, make) => [transpose(make(2, shape), { permutation })]),
  );

  it.each([
    [[10], [3], [5]],
    [[10], [4], [6]],
    [[10], [0], [10]],
    [[10], [2], [0]],
    [
      [6, 8],
      [1, 0],
      [3, 8],
    ],
    [
      [6, 8],
      [1, 4],
      [3, 4],
    ],
    [
      [6, 8],
      [1, 3],
      [4, 3],
    ],
    [
      [6, 7],
      [2, 0],
      [2, 7],
    ],
    [
      [4, 5, 6],
      [1, 2, 3],
      [2, 2, 2],
    ],
    [
      [4, 5, 6],
      [0, 1, 0],
      [4, 3, 6],
    ],
    [
      [40, 9],
      [1, 1],
      [38, 8],
    ],
  ] as const)("slices %j at %j, %j", (shape, starts, sizes) =>
    checkEverywhere((_, make) => [slice(make(3, shape), { starts, sizes })]),
  );

  const boxes: readonly (readonly [Shape, readonly number[], Shape])[] = [
    [[10], [3], [5]],
    [[10], [4], [4]],
    [[10], [9], [1]],
    [[10], [0], [10]],
    [[10], [5], [0]],
    [
      [6, 8],
      [1, 0],
      [3, 8],
    ],
    [
      [6, 8],
      [1, 4],
      [3, 4],
    ],
    [
      [6, 8],
      [1, 3],
      [4, 3],
    ],
    [
      [6, 2],
      [1, 1],
      [4, 1],
    ],
    [
      [6, 7],
      [2, 0],
      [2, 7],
    ],
    [
      [4, 5, 6],
      [1, 2, 3],
      [2, 2, 2],
    ],
    [
      [4, 5, 6],
      [0, 1, 0],
      [4, 3, 6],
    ],
    [
      [40, 9],
      [1, 1],
      [38, 7],
    ],
    [[], [], []],
  ];
  it.each(boxes)("writes over %j at %j, %j", (shape, starts, sizes) =>
    checkEverywhere((_, make) => {
      const target = make(4, shape);
      return [writeSlice(target, make(5, sizes), { starts }), target];
    }),
  );

  it.each(boxes)("writes over a donated %j at %j, %j", (shape, starts, sizes) =>
    checkEverywhere((_, make) => [writeSlice(donate(make(6, shape)), make(7, sizes), { starts })]),
  );

  it("writes in place where the target is donated", async () => {
    const [{ gpu: backend } = { gpu: undefined }] = pairs;
    if (backend === undefined) expect.fail("no backend");
    const update = backend.tensor(Float32Array.of(1, 2));
    let cache = backend.tensor(new Float32Array(64));
    await backend.sync();
    const before = backend.statistics();
    for (let step = 0; step < 8; step++)
      cache = writeSlice(donate(cache), update, { starts: [step * 3] });
    expect(backend.statistics()).toMatchObject({
      liveBuffers: before.liveBuffers,
      peakBytes: before.peakBytes,
      refusedDonations: before.refusedDonations,
    });
    expect((await cache.read()).slice(0, 7)).toEqual(Float32Array.of(1, 2, 0, 1, 2, 0, 1));
  });

  it("writes a tensor over itself", async () => {
    await checkAll((backend) => {
      const x = bitsTensor(backend, 8, [9], "f16");
      return writeSlice(x, x, { starts: [0] });
    });
  });

  it.each([
    [[[3], [4], [5]], 0],
    [[[3], [1], [2], [3], [1], [0], [6], [2], [1], [5], [7]], 0],
    [
      [
        [2, 3],
        [2, 5],
      ],
      1,
    ],
    [
      [
        [2, 4],
        [2, 8],
      ],
      1,
    ],
    [
      [
        [3, 5],
        [1, 5],
        [2, 5],
      ],
      0,
    ],
    [
      [
        [2, 1, 3],
        [2, 2, 3],
      ],
      1,
    ],
    [
      [
        [0, 4],
        [0, 4],
      ],
      0,
    ],
    [
      [
        [4, 0],
        [4, 3],
      ],
      1,
    ],
    [[[6, 7]], 1],
  ] as const)("joins %j along %i", (shapes, axis) =>
    checkEverywhere((_, make) => [
      concat(...shapes.map((shape, index) => make(10 + index, shape)), { axis }),
    ]),
  );

  it.each([
    [[5], [2], [3]],
    [[4], [4], [4]],
    [
      [3, 4],
      [1, 0],
      [0, 2],
    ],
    [
      [3, 4],
      [0, 0],
      [0, 0],
    ],
    [
      [3, 3],
      [0, 1],
      [1, 1],
    ],
    [
      [2, 3, 5],
      [1, 0, 2],
      [0, 1, 1],
    ],
    [
      [0, 3],
      [1, 1],
      [1, 0],
    ],
    [[], [], []],
  ] as const)("pads %j by %j and %j", (shape, before, after) =>
    checkEverywhere((_, make) => [
      pad(make(20, shape), { before, after, value: 1 }),
      pad(make(21, shape), { before, after, value: 0 }),
    ]),
  );

  it("moves large tensors whole", async () => {
    const checkWhole = pairs[0]?.agree ?? checkAll;
    await checkWhole((backend) => {
      const x = cast(iota(backend, { shape: [300, 401], axis: 1, dtype: "i32" }), { dtype: "f16" });
      const y = iota(backend, { shape: [200, 401], axis: 0, dtype: "i32" });
      return [
        slice(x, { starts: [1, 0], sizes: [297, 401] }),
        slice(x, { starts: [2, 0], sizes: [297, 401] }),
        concat(y, y, { axis: 0 }),
        writeSlice(y, slice(y, { starts: [50, 0], sizes: [100, 401] }), { starts: [7, 0] }),
        transpose(y, { permutation: [1, 0] }),
        broadcast(y, { shape: [2, 200, 401] }),
      ];
    });
  });
});

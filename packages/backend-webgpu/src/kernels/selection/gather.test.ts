import {
  type Backend,
  type DType,
  type Shape,
  type Tensor,
  donate,
  gatherRows,
  hostBits,
  putAlong,
  randomKey,
  segmentSum,
  sizeOf,
  takeAlong,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const DTYPES: readonly DType[] = ["f32", "i32", "u32", "bool", "f16", "bf16", "u8"];

/** Bits that differ from element to element, in any dtype. */
function bitsTensor(backend: Backend, seed: number, shape: Shape, dtype: DType): Tensor {
  const bits = hostBits(randomKey(seed), sizeOf(shape));
  switch (dtype) {
    case "u8":
      return backend.tensor(Uint8Array.from(bits), { shape });
    case "f16":
    case "bf16":
      return backend.tensor(
        Uint16Array.from(bits, (word) => word & 0x3fff),
        { shape, dtype },
      );
    case "bool":
      return backend.tensor(
        bits.map((word) => word & 1),
        { shape, dtype },
      );
    case "i32":
      return backend.tensor(Int32Array.from(bits), { shape });
    case "u32":
      return backend.tensor(bits, { shape });
    default:
      return backend.tensor(
        Float32Array.from(bits, (word) => word / 7),
        { shape, dtype },
      );
  }
}

/** Ids of which some lie outside 0 … count − 1. */
function idsOf(backend: Backend, shape: Shape, count: number): Tensor {
  const ids = Int32Array.from({ length: sizeOf(shape) }, (_, at) => ((at * 7) % (count + 2)) - 1);
  return backend.tensor(ids, { shape });
}

/** Indices along an axis, each at most once, some of them outside. */
function distinctIndices(backend: Backend, shape: Shape, axis: number, size: number): Tensor {
  const steps = shape[axis] ?? 0;
  const inner = sizeOf(shape.slice(axis + 1));
  const indices = Int32Array.from({ length: sizeOf(shape) }, (_, at) => {
    const step = Math.floor(at / inner) % steps;
    const turned = (step + at) % inner;
    const index = (2 * (size - 1) - step - turned) % size;
    return at % 11 === 3 ? size + at : index;
  });
  return backend.tensor(indices, { shape });
}

describe.skipIf(!gpu.available).each([{}, { segmentBytes: 256 }])(
  "moving elements with %o",
  (options) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair(options);
    });
    afterAll(() => pair.dispose());

    it.each(DTYPES)("gathers rows of %s", async (dtype) => {
      const tables: readonly Shape[] = [[9], [9, 3], [5, 4], [6, 2, 8], [70, 13], [0, 3], [4, 0]];
      for (const table of tables) {
        await pair.agree((backend) => {
          const rows = bitsTensor(backend, 1, table, dtype);
          return [
            gatherRows(rows, idsOf(backend, [11], table[0] ?? 0)),
            gatherRows(rows, idsOf(backend, [2, 3], table[0] ?? 0)),
          ];
        });
      }
    });

    it("gives zeros for ids far outside", async () => {
      await pair.agree((backend) => {
        const ids = backend.tensor(Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 2, -1, 3));
        return gatherRows(randomTensor(backend, 1, [3, 5]), ids);
      });
    });

    it.each(DTYPES)("takes along every axis: %s", async (dtype) => {
      for (const axis of [0, 1, 2]) {
        await pair.agree((backend) => {
          const x = bitsTensor(backend, 2, [3, 5, 7], dtype);
          const shape = [3, 5, 7].with(axis, 4);
          return takeAlong(x, idsOf(backend, shape, x.shape[axis] ?? 0), { axis });
        });
      }
    });

    it.each(DTYPES)("puts along every axis, donated or not: %s", async (dtype) => {
      for (const axis of [0, 1, 2]) {
        await pair.agree((backend) => {
          const shape = [3, 6, 7];
          const taken = shape.with(axis, 3);
          const indices = distinctIndices(backend, taken, axis, shape[axis] ?? 0);
          const updates = bitsTensor(backend, 4, taken, dtype);
          const x = bitsTensor(backend, 3, shape, dtype);
          const copied = putAlong(x, indices, updates, { axis });
          return [
            copied,
            x,
            putAlong(donate(bitsTensor(backend, 5, shape, dtype)), indices, updates, { axis }),
          ];
        });
      }
    });

    it("adds rows up by sorted id", async () => {
      const sorted = (backend: Backend, count: number, segments: number): Tensor =>
        backend.tensor(
          Int32Array.from(
            { length: count },
            (_, row) => Math.floor((row * (segments + 2)) / count) - 1,
          ),
        );
      for (const [count, segments, width] of [
        [0, 3, 2],
        [1, 1, 1],
        [40, 7, 3],
        [30, 50, 4],
        [60, 0, 4],
        [13, 5, 0],
      ] as const) {
        await pair.agree((backend) => {
          const rows = randomTensor(backend, 1, [count, width]);
          return segmentSum(rows, sorted(backend, count, segments), { segments });
        });
      }
    });
  },
);

describe.skipIf(!gpu.available)("moving elements", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair();
  });
  afterAll(() => pair.dispose());

  it("adds up long segments, and an extra dimension", async () => {
    await pair.agree((backend) => {
      const ids = Int32Array.from({ length: 3000 }, (_, row) => (row < 2990 ? 1 : 2));
      const rows = randomTensor(backend, 1, [3000, 2, 3]);
      return segmentSum(rows, backend.tensor(ids), { segments: 4 });
    }, 2e-6);
  });

  it("writes into a donated tensor, and only there", async () => {
    const x = randomTensor(pair.gpu, 1, [100]);
    const indices = pair.gpu.tensor(Int32Array.of(5, 7));
    const updates = randomTensor(pair.gpu, 2, [2]);
    const before = pair.gpu.statistics().liveBuffers;
    const y = putAlong(donate(x), indices, updates, { axis: 0 });
    expect(pair.gpu.statistics().liveBuffers).toBe(before);
    for (const tensor of [indices, updates, y]) tensor.dispose();
  });

  it("gathers more rows than one dimension of workgroups has", async () => {
    await pair.agree((backend) => {
      const ids = Int32Array.from({ length: 70_000 }, (_, at) => at % 11);
      return gatherRows(randomTensor(backend, 1, [10, 4]), backend.tensor(ids));
    });
  });
});

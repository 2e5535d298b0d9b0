import {
  type Backend,
  type Shape,
  type Tensor,
  broadcast,
  concat,
  donate,
  pad,
  slice,
  transpose,
  writeSlice,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DTYPES, bitsTensor } from "../../testing/bits.ts";
import { type Pair, createPair } from "../../testing/oracle.ts";

type Make = (seed: number, shape: Shape) => Tensor;

describe("layout kernels", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 3 });
  });
  afterAll(() => pair.dispose());

  /** Runs a program for every dtype. */
  async function check(
    program: (make: Make, backend: Backend) => Tensor | Tensor[],
  ): Promise<void> {
    for (const dtype of DTYPES) {
      await pair
        .agree(
          (backend) => program((seed, shape) => bitsTensor(backend, seed, shape, dtype), backend),
          0,
        )
        .catch((cause: unknown) => expect.fail(`${dtype}: ${String(cause)}`));
    }
  }

  it.each([
    [[], [3]],
    [[1], [5]],
    [
      [3, 1],
      [3, 37],
    ],
    [
      [1, 37],
      [5, 37],
    ],
    [[7], [0, 7]],
    [
      [2, 1, 3, 1],
      [4, 2, 5, 3, 19],
    ],
    [
      [1, 2, 1, 3, 1, 2, 1],
      [2, 2, 2, 3, 2, 2, 2],
    ],
    [[1], [70_001]],
    [
      [300, 1],
      [300, 301],
    ],
  ] as readonly [Shape, Shape][])("broadcasts %j to %j", async (from, shape) => {
    await check((make) => broadcast(make(1, from), { shape }));
  });

  it.each([
    [[], []],
    [[5], [0]],
    [
      [3, 4],
      [1, 0],
    ],
    [
      [4, 4],
      [1, 0],
    ],
    [
      [1, 7],
      [1, 0],
    ],
    [
      [33, 65],
      [1, 0],
    ],
    [
      [0, 3],
      [1, 0],
    ],
    [
      [2, 3, 5],
      [2, 0, 1],
    ],
    [
      [2, 3, 5],
      [0, 2, 1],
    ],
    [
      [2, 3, 5],
      [2, 1, 0],
    ],
    [
      [5, 6, 7, 8],
      [0, 2, 1, 3],
    ],
    [
      [5, 6, 7, 8],
      [3, 1, 2, 0],
    ],
    [
      [2, 3, 2, 3, 2, 3, 2],
      [6, 4, 2, 0, 1, 3, 5],
    ],
    [
      [3, 2, 3, 2, 3, 2, 3],
      [0, 6, 5, 4, 3, 2, 1],
    ],
    [
      [2, 130, 257],
      [0, 2, 1],
    ],
    [
      [700, 3],
      [1, 0],
    ],
    [
      [3, 700],
      [1, 0],
    ],
  ] as readonly [Shape, readonly number[]][])("transposes %j by %j", async (shape, permutation) => {
    await check((make) => transpose(make(2, shape), { permutation }));
  });

  it.each([
    [[7], [2], [3]],
    [[7], [7], [0]],
    [
      [4, 6],
      [1, 0],
      [2, 6],
    ],
    [
      [4, 6],
      [0, 5],
      [4, 1],
    ],
    [
      [40, 60],
      [1, 3],
      [30, 37],
    ],
    [
      [3, 4, 5, 6, 7],
      [1, 1, 1, 1, 1],
      [2, 2, 2, 2, 5],
    ],
    [[], [], []],
    [
      [301, 303],
      [1, 2],
      [299, 300],
    ],
  ] as readonly [Shape, readonly number[], Shape][])(
    "slices %j at %j to %j, and writes it",
    async (shape, starts, sizes) => {
      await check((make) => {
        const target = make(3, shape);
        const update = make(4, sizes);
        return [
          slice(target, { starts, sizes }),
          writeSlice(target, update, { starts }),
          writeSlice(donate(make(5, shape)), update, { starts }),
          target,
        ];
      });
    },
  );

  it("writes into a donated buffer, and leaves one that is held elsewhere", async () => {
    const target = bitsTensor(pair.wasm, 1, [8, 8], "f32");
    const { liveBuffers } = pair.wasm.statistics();
    const update = bitsTensor(pair.wasm, 2, [2, 2], "f32");
    const written = writeSlice(donate(target), update, { starts: [3, 3] });
    expect(pair.wasm.statistics().liveBuffers).toBe(liveBuffers + 1);
    written.dispose();
    update.dispose();
  });

  it.each([
    [[[3], [0], [5]], 0],
    [
      [
        [2, 3],
        [1, 3],
      ],
      0,
    ],
    [
      [
        [2, 3],
        [2, 4],
        [2, 1],
      ],
      1,
    ],
    [
      [
        [4, 1],
        [4, 1],
        [4, 1],
      ],
      1,
    ],
    [
      [
        [2, 1, 3],
        [2, 5, 3],
      ],
      1,
    ],
    [
      [
        [200, 101],
        [200, 103],
      ],
      1,
    ],
    [
      [
        [4, 0],
        [4, 0],
      ],
      1,
    ],
  ] as readonly [readonly Shape[], number][])("joins %j along %i", async (shapes, axis) => {
    await check((make) => concat(...shapes.map((shape, index) => make(index, shape)), { axis }));
  });

  it.each([
    [[3], [2], [1]],
    [[0], [2], [1]],
    [[], [], []],
    [
      [2, 3],
      [1, 0],
      [0, 2],
    ],
    [
      [2, 3, 5],
      [0, 1, 2],
      [3, 0, 1],
    ],
    [
      [150, 90],
      [0, 1],
      [0, 2],
    ],
  ] as readonly [Shape, readonly number[], readonly number[]][])(
    "pads %j by %j and %j",
    async (shape, before, after) => {
      await check((make) => pad(make(6, shape), { before, after, value: 1 }));
    },
  );
});

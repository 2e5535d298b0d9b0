import {
  type DType,
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
import type { ConformanceCase, ProgramRun } from "../case.ts";
import { generated } from "../host-tensor.ts";
import { ALL_DTYPES, anyValues, contractCase, inputsFor } from "./l0-support.ts";

const BROADCASTS: readonly (readonly [Shape, Shape])[] = [
  [[], [5]],
  [[1], [33]],
  [[7], [5, 7]],
  [
    [5, 1],
    [5, 7],
  ],
  [
    [2, 1, 3],
    [2, 5, 3],
  ],
  [
    [1, 3, 1, 2],
    [4, 2, 3, 5, 2],
  ],
  [[1], [0]],
  [
    [3, 0],
    [2, 3, 0],
  ],
  [
    [65_537, 1],
    [65_537, 3],
  ],
];

/** Words and bytes: long tensors of the other dtypes say nothing new. */
const LONG_DTYPES: readonly DType[] = ["f32", "u8"];

/** A list without its last entry, which is long, for dtypes that need none. */
function sizedFor<T>(dtype: DType, list: readonly T[]): readonly T[] {
  return LONG_DTYPES.includes(dtype) ? list : list.slice(0, -1);
}

const TRANSPOSED: readonly Shape[] = [
  [5],
  [3, 4],
  [129, 65],
  [1, 2049],
  [2, 3, 5],
  [17, 1, 33],
  [4, 0, 3],
  [2, 3, 4, 5],
  [3, 2, 1, 7],
  [65_537, 3],
];

/** Every order of the axes; of rank 5 a few, among them the reverse and a rotation. */
function permutationsOf(rank: number): number[][] {
  if (rank === 0) return [[]];
  return permutationsOf(rank - 1).flatMap((shorter) =>
    Array.from({ length: rank }, (_, place) => shorter.toSpliced(place, 0, rank - 1)),
  );
}

const RANK_5: readonly (readonly number[])[] = [
  [4, 3, 2, 1, 0],
  [1, 2, 3, 4, 0],
  [4, 0, 1, 2, 3],
  [0, 2, 1, 4, 3],
  [3, 1, 4, 0, 2],
];

function transposes({ inputs: { five, ...rest } }: ProgramRun): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  const put = (x: Tensor, permutation: readonly number[]): void => {
    outputs[`[${x.shape}] as ${permutation}`] = transpose(x, { permutation });
  };
  for (const x of Object.values(rest)) {
    for (const permutation of permutationsOf(x.rank)) put(x, permutation);
  }
  if (five) for (const permutation of RANK_5) put(five, permutation);
  return outputs;
}

interface Box {
  readonly shape: Shape;
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
}

/** Boxes at every place of a tensor; starts and sizes that are no multiples of a word in bytes. */
const BOXES: readonly Box[] = [
  { shape: [], starts: [], sizes: [] },
  { shape: [7], starts: [0], sizes: [7] },
  { shape: [7], starts: [3], sizes: [1] },
  { shape: [7], starts: [7], sizes: [0] },
  { shape: [1031], starts: [5], sizes: [1021] },
  { shape: [5, 9], starts: [1, 3], sizes: [3, 5] },
  { shape: [5, 9], starts: [4, 0], sizes: [1, 9] },
  { shape: [33, 65], starts: [1, 1], sizes: [31, 63] },
  { shape: [3, 5, 7], starts: [1, 0, 2], sizes: [2, 5, 3] },
  { shape: [2, 3, 4, 5], starts: [1, 1, 1, 1], sizes: [1, 2, 3, 3] },
  { shape: [70_003], starts: [1], sizes: [70_001] },
];

const boxName = ({ shape, starts, sizes }: Box): string =>
  `[${shape}] from ${starts} size ${sizes}`;

/** What is joined: the sizes along the axis, and the sizes before and after it. */
const JOINS: readonly {
  readonly sizes: readonly number[];
  readonly before: Shape;
  readonly after: Shape;
}[] = [
  { sizes: [5], before: [], after: [] },
  { sizes: [1, 2], before: [], after: [] },
  { sizes: [3, 0, 4], before: [], after: [2] },
  { sizes: [1, 1, 1, 1], before: [5], after: [] },
  { sizes: [2, 3, 5, 7, 1], before: [3], after: [3] },
  { sizes: [33, 31, 1, 64, 2, 5], before: [2], after: [5] },
  { sizes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], before: [3], after: [] },
  { sizes: [0, 0], before: [2], after: [3] },
  { sizes: [65_537, 3], before: [], after: [] },
];

const PADS: readonly { readonly shape: Shape; readonly before: Shape; readonly after: Shape }[] = [
  { shape: [], before: [], after: [] },
  { shape: [5], before: [0], after: [3] },
  { shape: [5], before: [2], after: [0] },
  { shape: [0], before: [2], after: [1] },
  { shape: [3, 4], before: [1, 0], after: [0, 5] },
  { shape: [33, 31], before: [1, 2], after: [3, 1] },
  { shape: [2, 3, 2], before: [0, 1, 1], after: [1, 0, 2] },
  { shape: [2, 0, 3], before: [1, 2, 0], after: [0, 0, 1] },
  { shape: [65_537], before: [1], after: [1] },
];

function layoutCases(dtype: DType): ConformanceCase[] {
  const [low, high] = dtype === "bool" ? [0, 1] : [0, 3];
  return [
    contractCase(
      `broadcast/${dtype}`,
      `broadcast repeats ${dtype} values along any axes`,
      [broadcast],
      [dtype],
      async (test) => {
        const inputs = inputsFor(sizedFor(dtype, BROADCASTS), ([from]) =>
          anyValues(test.random, from, dtype),
        );
        await test.compare(inputs, (run) =>
          Object.fromEntries(
            Object.values(run.inputs).map((x, index) => {
              const shape = BROADCASTS[index]?.[1] ?? [];
              return [`[${x.shape}] to [${shape}]`, broadcast(x, { shape })];
            }),
          ),
        );
      },
    ),
    contractCase(
      `transpose/${dtype}`,
      `transpose moves ${dtype} values to their places, in every order of the axes`,
      [transpose],
      [dtype],
      async (test) => {
        const inputs = inputsFor(sizedFor(dtype, TRANSPOSED), (shape) =>
          anyValues(test.random, shape, dtype),
        );
        const five = anyValues(test.random, [2, 3, 1, 4, 5], dtype);
        await test.compare({ ...inputs, five }, transposes);
      },
    ),
    contractCase(
      `slice/${dtype}`,
      `slice gives exactly the box of ${dtype} values that was asked for`,
      [slice],
      [dtype],
      async (test) => {
        const inputs = inputsFor(sizedFor(dtype, BOXES), ({ shape }) =>
          anyValues(test.random, shape, dtype),
        );
        await test.compare(inputs, (run) =>
          Object.fromEntries(
            BOXES.flatMap((box, index) => {
              const x = run.inputs[`x${index}`];
              const { starts, sizes } = box;
              return x ? [[boxName(box), slice(x, { starts, sizes })]] : [];
            }),
          ),
        );
      },
    ),
    contractCase(
      `write-slice/${dtype}`,
      `writeSlice writes ${dtype} values over the box and nothing else, in place where permitted`,
      [writeSlice],
      [dtype],
      async (test) => {
        const targets = inputsFor(sizedFor(dtype, BOXES), ({ shape }) =>
          anyValues(test.random, shape, dtype),
        );
        const updates = Object.fromEntries(
          sizedFor(dtype, BOXES).map(({ sizes }, index) => [
            `u${index}`,
            anyValues(test.random, sizes, dtype),
          ]),
        );
        await test.compare({ ...targets, ...updates }, (run) => writes(run));
      },
    ),
    contractCase(
      `concat/${dtype}`,
      `concat joins one to eleven ${dtype} tensors along any axis`,
      [concat],
      [dtype],
      async (test) => {
        for (const { sizes, before, after } of sizedFor(dtype, JOINS)) {
          const inputs = inputsFor(sizes, (size) =>
            anyValues(test.random, [...before, size, ...after], dtype),
          );
          await test.compare(inputs, (run) => ({
            [`${sizes.length} along ${before.length}`]: concat(...Object.values(run.inputs), {
              axis: before.length,
            }),
          }));
        }
      },
    ),
    contractCase(
      `pad/${dtype}`,
      `pad surrounds ${dtype} values with the value on any side`,
      [pad],
      [dtype],
      async (test) => {
        const inputs = inputsFor(sizedFor(dtype, PADS), ({ shape }) =>
          anyValues(test.random, shape, dtype),
        );
        await test.compare(inputs, (run) =>
          Object.fromEntries(
            PADS.flatMap(({ before, after }, index) => {
              const x = run.inputs[`x${index}`];
              if (x === undefined) return [];
              return [low, high].map((value) => [
                `[${x.shape}] ${before} ${after} ${value}`,
                pad(x, { before, after, value }),
              ]);
            }),
          ),
        );
      },
    ),
  ];
}

/** Each box written not donated (the target must stay as it was), and donated. */
function writes({ inputs }: ProgramRun): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (const [index, box] of BOXES.entries()) {
    const [target, update] = [inputs[`x${index}`], inputs[`u${index}`]];
    if (!target || !update) continue;
    const { starts } = box;
    outputs[`kept ${boxName(box)}`] = writeSlice(target, update, { starts });
    outputs[`target ${boxName(box)}`] = slice(target, {
      starts: box.shape.map(() => 0),
      sizes: box.shape,
    });
    outputs[`donated ${boxName(box)}`] = writeSlice(donate(target), update, { starts });
  }
  return outputs;
}

/** Cases of the ops that move values. */
export const layoutOpCases: readonly ConformanceCase[] = [
  ...ALL_DTYPES.flatMap(layoutCases),
  contractCase(
    "write-slice/chain",
    "a cache that is written step by step in its own buffer holds all that was written",
    [writeSlice],
    ["f32"],
    async (test) => {
      const cache = test.random.normal([2, 40, 5]);
      const steps = Object.fromEntries(
        Array.from({ length: 20 }, (_, step) => [`s${step}`, test.random.normal([2, 1, 5])]),
      );
      await test.compare({ cache, ...steps }, ({ inputs }) => {
        let current = inputs.cache;
        for (let step = 0; step < 20; step++) {
          const update = (inputs as Readonly<Record<string, Tensor>>)[`s${step}`];
          if (update) current = writeSlice(donate(current), update, { starts: [0, step + 3, 0] });
        }
        return { current };
      });
    },
  ),
  contractCase(
    "slice/of-slices",
    "ops on what other ops just gave see it whole, in long chains without a pause",
    [slice, transpose, concat],
    ["i32"],
    async (test) => {
      const x = generated([24, 24], "i32", (index) => index);
      await test.compare({ x }, ({ inputs: { x } }) => {
        let current = x;
        for (let step = 0; step < 30; step++) {
          const top = slice(current, { starts: [0, 0], sizes: [1 + (step % 23), 24] });
          const rest = slice(current, {
            starts: [top.shape[0] ?? 0, 0],
            sizes: [24 - (top.shape[0] ?? 0), 24],
          });
          current = transpose(concat(rest, top, { axis: 0 }), { permutation: [1, 0] });
        }
        return { current };
      });
    },
  ),
];

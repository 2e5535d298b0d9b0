import {
  type AnyOp,
  type Capabilities,
  type Shape,
  type Tensor,
  adamW,
  add,
  binary,
  concat,
  donate,
  gatherRows,
  groupedMatmul,
  groupedMatmulGradWeights,
  matmul,
  mul,
  reduce,
  slice,
  sub,
  transpose,
  unary,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { FFN_GRADIENT_OPS } from "./grad-fused.ts";
import { GRADIENT_OPS, gradientsHold } from "./grad-support.ts";
import { FFN_OPS, USUAL, bankHosts, choices, ffn } from "./l3-ffn-support.ts";
import { offsetsOf } from "./l3-grouped-matmul.ts";
import { type CaseParts, at, caseOf, constant, holds, observed } from "./l3-support.ts";

/** Up to this many bytes a segment is small enough for the references. */
const COMPARED = 2 ** 20;
/** Up to this many bytes one tensor beyond a segment is tried at all. */
const TRIED = 256 * 2 ** 20;
/** Floats in a row of the tensors that are compared. */
const WIDTH = 16;

const bindingOf = ({ limits }: Capabilities): number => limits.bindingBytes ?? 0;

const segmentedCase = (
  level: Level,
  what: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase =>
  caseOf(level, `segmented/${what}`, {
    demand,
    extension: "segmented",
    ops,
    run,
    unsupported(capabilities) {
      const bytes = bindingOf(capabilities);
      return bytes <= COMPARED
        ? undefined
        : `segments of ${bytes} bytes are too large for the references; a large tensor is tried alone`;
    },
    ...more,
  });

/** Rows of `WIDTH` floats that fill a segment. */
const rowsIn = ({ capabilities }: CaseContext): number =>
  Math.max(1, Math.floor(bindingOf(capabilities) / (4 * WIDTH)));

/** Just under, at and over a segment, and over two. */
const sizes = (test: CaseContext): number[] => {
  const rows = rowsIn(test);
  return [rows - 1, rows, rows + 1, 2 * rows + 3].filter((size) => size > 0);
};

/** Ids on both sides of every boundary, first, last and outside. */
function idsAround(test: CaseContext, count: number): HostTensor {
  const rows = rowsIn(test);
  const around = [0, rows - 1, rows, rows + 1, 2 * rows - 1, 2 * rows, count - 1, count, -1];
  return hostTensor(around, "i32");
}

/** Holds a program on a table of each size to the references. */
async function tables(
  test: CaseContext,
  body: (table: Tensor, ids: Tensor, count: number) => Record<string, Tensor>,
  counts: readonly number[] = sizes(test),
): Promise<void> {
  for (const count of counts) {
    const hosts = { table: test.random.normal([count, WIDTH]), ids: idsAround(test, count) };
    await holds(test, hosts, (given) => body(given.table, given.ids, count), { ambiguous: 1 });
  }
}

const small: readonly ConformanceCase[] = [
  segmentedCase(
    "L2",
    "gather-rows",
    "rows are found in whichever segment they lie",
    [gatherRows],
    (test) => tables(test, (table, ids) => ({ rows: gatherRows(table, ids) })),
  ),
  segmentedCase(
    "L0",
    "elementwise",
    "functions of elements run over all segments, also of both operands",
    [unary, binary],
    (test) =>
      tables(test, (table) => ({
        tanh: unary(table, { kind: "tanh" }),
        sum: add(table, mul(table, 0.5)),
        scaled: mul(table, 3),
      })),
  ),
  segmentedCase("L0", "reduce", "sums go over all segments", [reduce], (test) =>
    tables(test, (table) => ({
      rows: reduce(table, { kind: "sum", axes: [1] }),
      columns: reduce(table, { kind: "sum", axes: [0] }),
      most: reduce(table, { kind: "max", axes: [0, 1] }),
    })),
  ),
  segmentedCase(
    "L0",
    "layout",
    "boxes are cut out, written and joined across segments",
    [slice, concat, writeSlice, transpose, binary],
    (test) =>
      tables(test, (table, _, count) => {
        const middle = slice(table, { starts: [1, 3], sizes: [count - 1, 7] });
        return {
          middle,
          joined: concat(table, table, { axis: 0 }),
          beside: concat(table, table, { axis: 1 }),
          turned: transpose(table, { permutation: [1, 0] }),
          written: writeSlice(donate(sub(table, 0)), mul(middle, 2), { starts: [0, 5] }),
        };
      }),
  ),
  segmentedCase(
    "L3",
    "matmul",
    "both sides and the product may be segmented",
    [matmul, slice],
    // Kernels of products are long texts: one number of segments is enough.
    (test) =>
      tables(
        test,
        (table, _, count) => {
          const few = slice(table, { starts: [0, 0], sizes: [Math.min(count, 3), WIDTH] });
          return {
            left: matmul(table, few, { transposeB: true }),
            right: matmul(few, table, { transposeB: true }),
            inner: matmul(table, table, { transposeA: true }),
          };
        },
        [rowsIn(test), rowsIn(test) + 1],
      ),
  ),
  segmentedCase(
    "L3",
    "grouped-matmul",
    "each group finds its matrix in whichever segment it lies, and matrices may cross a boundary",
    [groupedMatmul, groupedMatmulGradWeights],
    async (test) => {
      // Matrices of 192 bytes: some lie across the boundary.
      const inner = 12;
      const groups = Math.ceil(bindingOf(test.capabilities) / (4 * inner * 4)) + 1;
      const counts = Array.from({ length: groups }, (_, group): number =>
        group % 3 === 1 ? 0 : 1,
      );
      const rows = counts.reduce((total, count) => total + count, 0);
      const hosts = {
        x: test.random.normal([rows, inner]),
        dy: test.random.normal([rows, 4]),
        weights: test.random.normal([groups, 4, inner]),
        offsets: offsetsOf(counts),
      };
      await holds(test, hosts, ({ x, dy, weights, offsets }) => ({
        y: groupedMatmul(x, weights, offsets, undefined, {}),
        gradient: groupedMatmulGradWeights(x, dy, offsets, undefined, {}),
      }));
    },
  ),
  segmentedCase(
    "L4",
    "adam-w",
    "the optimizer steps through all segments of its four tensors",
    [binary, unary],
    async (test) => {
      for (const count of sizes(test)) {
        const shape = [count, WIDTH];
        const hosts = {
          parameter: test.random.normal(shape),
          gradient: test.random.normal(shape),
          first: test.random.normal(shape, 0.1),
          second: constant(shape, 0.25),
        };
        await holds(test, hosts, ({ parameter, gradient, first, second }) => {
          const rates = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
          const attributes = { ...rates, weightDecay: 0.1, step: 3 };
          const own = [parameter, first, second].map((tensor) => donate(sub(tensor, 0)));
          const [p, m, v] = own as [Tensor, Tensor, Tensor];
          const [next, one, two] = adamW(p, gradient, m, v, attributes);
          return { next, one, two };
        });
      }
    },
  ),
  segmentedCase(
    "L3",
    "experts",
    "a bank in several segments computes, and gets its gradient",
    [...GRADIENT_OPS, ...FFN_GRADIENT_OPS, ...FFN_OPS],
    async (test) => {
      const [input, inner] = [16, 4];
      // The up projection is in two segments, the other in one.
      const experts = Math.ceil(bindingOf(test.capabilities) / (4 * input * 2 * inner)) + 1;
      const shape = { experts, tokens: 33, topK: 2, input, inner };
      const hosts = {
        x: test.random.normal([shape.tokens, input]),
        indices: choices(test.random, shape),
        outputWeights: test.random.uniform([shape.tokens, 2], 0.1, 1),
        ...bankHosts(test.random, USUAL, shape),
        inputWeights: undefined,
      };
      await holds(test, hosts, (given) => ({ y: ffn(given, USUAL.descriptor) }));
      await gradientsHold(test, hosts, ["x", "up", "down"], (given) =>
        ffn(given, USUAL.descriptor),
      );
    },
    { heavy: true },
  ),
];

/** A tensor that is written piece by piece, without a copy of all of it. */
function uploadPieces(
  { backend }: CaseContext,
  shape: Shape,
  value: (element: number) => number,
): Tensor {
  const total = shape.reduce((product, size) => product * size, 1);
  const upload = backend.upload({ shape, dtype: "f32" });
  const most = 2 ** 20;
  for (let start = 0; start < total; start += most) {
    const values = Float32Array.from({ length: Math.min(most, total - start) }, (_, index) =>
      value(start + index),
    );
    upload.write(start * 4, new Uint8Array(values.buffer));
  }
  return upload.finish();
}

const valueAt = (row: number): number => row % 1021;

/** One tensor just over a segment, checked by hand. */
async function large(test: CaseContext): Promise<void> {
  const rows = rowsIn(test) + 64;
  const ids = [0, 1, rows - 66, rows - 65, rows - 64, rows - 63, rows - 1, rows, -1];
  const small = await observed(test, { ids: hostTensor(ids, "i32") }, (given) => {
    const table = uploadPieces(test, [rows, WIDTH], (element) =>
      valueAt(Math.floor(element / WIDTH)),
    );
    const more = add(table, 1);
    const start = rows - 70;
    return {
      rows: gatherRows(table, given.ids),
      more: gatherRows(more, given.ids),
      slice: slice(more, { starts: [start, 3], sizes: [70, 2] }),
      last: reduce(slice(table, { starts: [start, 0], sizes: [70, WIDTH] }), {
        kind: "max",
        axes: [0],
      }),
    };
  });
  const row = (id: number, plus: number): number => (id >= 0 && id < rows ? valueAt(id) + plus : 0);
  const wide = (plus: number): HostTensor =>
    generated([ids.length, WIDTH], "f32", (index) =>
      row(ids[Math.floor(index / WIDTH)] ?? -1, plus),
    );
  test.same("rows", at(small, "rows").data, wide(0).data);
  test.same("rows plus 1", at(small, "more").data, wide(1).data);
  const box = generated([70, 2], "f32", (index) => row(rows - 70 + Math.floor(index / 2), 1));
  test.same("slice", at(small, "slice").data, box.data);
  const tail = Array.from({ length: 70 }, (_, index) => row(rows - 70 + index, 0));
  test.same("max", at(small, "last").data, new Float32Array(WIDTH).fill(Math.max(...tail)));
}

/** Cases of tensors that are larger than what a kernel sees at once. */
export const segmentedCases: readonly ConformanceCase[] = [
  ...small,
  segmentedCase(
    "L2",
    "large",
    "a tensor just over a segment keeps every row, on both sides of the boundary",
    [gatherRows, binary, slice, reduce],
    large,
    {
      heavy: true,
      unsupported(capabilities) {
        const bytes = bindingOf(capabilities);
        return bytes <= TRIED ? undefined : `segments of ${bytes} bytes are too large to try`;
      },
    },
  ),
];

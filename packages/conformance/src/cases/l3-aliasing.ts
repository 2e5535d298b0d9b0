import {
  type Tensor,
  add,
  attention,
  binary,
  broadcast,
  cast,
  compare,
  concat,
  donate,
  groupedMatmul,
  iota,
  matmul,
  mul,
  pad,
  putAlong,
  reduce,
  slice,
  sub,
  transpose,
  unary,
  where,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import { FFN_OPS, ffn } from "./l3-ffn-support.ts";
import { type CaseParts, at, caseOf, holds, observed } from "./l3-support.ts";

const aliasCase = (
  what: string,
  demand: string,
  ops: CaseParts["ops"],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => caseOf("L3", `aliasing/${what}`, { demand, ops, run });

const WHOLE = { starts: [0, 0], sizes: [5, 6] } as const;

/** Ops that may give back what they were given, and so may share its buffer. */
const COPIES: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  reshape: (x) => x.reshape([5, 6]),
  cast: (x) => cast(x, { dtype: x.dtype }),
  broadcast: (x) => broadcast(x, { shape: [5, 6] }),
  slice: (x) => slice(x, WHOLE),
  pad: (x) => pad(x, { before: [0, 0], after: [0, 0], value: 0 }),
  concat: (x) => concat(x, { axis: 0 }),
  transpose: (x) => transpose(x, { permutation: [0, 1] }),
};

/** Cases of tensors that share a buffer, and of those that must not. */
export const aliasingCases: readonly ConformanceCase[] = [
  aliasCase(
    "same-operands",
    "one tensor may be every operand of an op",
    [binary, compare, concat, iota, matmul, reduce, slice, transpose, unary, where],
    async (test) => {
      const x = test.random.normal([9, 9]);
      await holds(test, { x }, (given) => {
        const heads = given.x.reshape([1, 9, 3, 3]);
        return {
          sum: add(given.x, given.x),
          product: matmul(given.x, given.x, { transposeB: true }),
          joined: concat(given.x, given.x, given.x, { axis: 1 }),
          chosen: where(compare(given.x, given.x, { kind: "eq" }), given.x, given.x, {}),
          attended: attention(heads, heads, heads, undefined, undefined, {
            causal: true,
            scale: 0.3,
            position: 0,
          }),
        };
      });
    },
  ),
  aliasCase(
    "same-weights",
    "both projections of a bank, and its inputs and weights, may be one tensor",
    FFN_OPS,
    async (test) => {
      const inputs = {
        x: test.random.normal([6, 6]),
        indices: test.random.integers([6, 1], 0, 0),
        outputWeights: test.random.uniform([6, 1], 0.5, 1),
      };
      await holds(test, inputs, (given) => {
        const square = given.x.reshape([1, 6, 6]);
        const bank = { up: square, down: square, upBias: undefined, downBias: undefined };
        return {
          y: ffn({ ...given, ...bank, inputWeights: undefined }, { activation: "identity" }),
        };
      });
    },
  ),
  aliasCase(
    "views",
    "views of one buffer under several shapes may meet in one op",
    [matmul, groupedMatmul, binary],
    async (test) => {
      const inputs = { x: test.random.normal([4, 6]), offsets: hostTensor([0, 1, 4], "i32") };
      await holds(test, inputs, (given) => ({
        product: matmul(given.x, given.x.reshape([6, 4]), {}),
        outer: mul(given.x.reshape([24, 1]), given.x.reshape([1, 24])),
        grouped: groupedMatmul(given.x, given.x.reshape([2, 2, 6]), given.offsets, undefined, {}),
      }));
    },
  ),
  ...Object.entries(COPIES).map(([name, copy]) =>
    aliasCase(
      `copy-by-${name}`,
      `what ${name} gave stays when its input is gone, and may be donated without harm to it`,
      [cast, broadcast, slice, pad, concat, transpose, writeSlice, binary],
      async (test) => {
        const x = test.random.normal([5, 6]);
        const [left, right] = [test.random.normal([2, 3]), test.random.normal([5, 6])];
        const got = await observed(test, { x, left, right }, (given) => {
          const own = sub(given.x, 0);
          const kept = copy(own);
          own.dispose();
          // Fresh buffers, in case the one of `own` was given back too early.
          const other = add(given.right, given.right);
          const changed = writeSlice(donate(copy(given.x)), given.left, { starts: [1, 2] });
          return { kept, changed, other, x: given.x.reshape([5, 6]) };
        });
        test.same("kept", at(got, "kept").data, x.data);
        test.same("x", at(got, "x").data, x.data);
        test.same("changed", at(got, "changed").data, written(x, left).data);
      },
    ),
  ),
  aliasCase(
    "inputs-stay",
    "inputs that are not donated keep their values, whatever is written from them",
    [writeSlice, putAlong, binary],
    async (test) => {
      const inputs = {
        x: test.random.normal([5, 6]),
        left: test.random.normal([2, 3]),
        places: hostTensor([3, 0, 5, 1, 4], "i32", [5, 1]),
        updates: test.random.normal([5, 1]),
      };
      const got = await observed(test, inputs, (given) => ({
        slice: writeSlice(given.x, given.left, { starts: [1, 2] }),
        put: putAlong(given.x, given.places, given.updates, { axis: 1 }),
        x: given.x.reshape([5, 6]),
        left: given.left.reshape([2, 3]),
      }));
      test.same("x", at(got, "x").data, inputs.x.data);
      test.same("left", at(got, "left").data, inputs.left.data);
      test.same("slice", at(got, "slice").data, written(inputs.x, inputs.left).data);
    },
  ),
  aliasCase(
    "donated-view",
    "a donation is refused while another view of the buffer lives, and the view keeps its values",
    [writeSlice],
    async (test) => {
      const inputs = { x: test.random.normal([5, 6]), left: test.random.normal([2, 3]) };
      const got = await observed(test, inputs, (given) => {
        const view = given.x.reshape([30]);
        const changed = writeSlice(donate(given.x.reshape([5, 6])), given.left, { starts: [1, 2] });
        return { changed, view };
      });
      test.same("view", at(got, "view").data, inputs.x.data);
      test.same("changed", at(got, "changed").data, written(inputs.x, inputs.left).data);
    },
  ),
  aliasCase(
    "donated-chain",
    "an accumulator that is donated to each of many sums adds every term once",
    [binary],
    async (test) => {
      const x = test.random.dyadic([257]);
      await holds(test, { x }, (given) => {
        let total = mul(given.x, 0);
        for (let step = 0; step < 20; step++) total = add(donate(total), given.x);
        return { total };
      });
    },
  ),
];

/** `x [5, 6]` with `update [2, 3]` at row 1, column 2. */
function written(x: HostTensor, update: HostTensor): HostTensor {
  const data = x.data.slice();
  for (let row = 0; row < 2; row++) {
    for (let column = 0; column < 3; column++) {
      data[(row + 1) * 6 + column + 2] = update.data[row * 3 + column] ?? 0;
    }
  }
  return { ...x, data };
}

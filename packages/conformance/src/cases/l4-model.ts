import {
  type AnyOp,
  type Backend,
  type FloatDType,
  type RopeAttributes,
  type RotaryTable,
  type Tensor,
  binary,
  compare,
  concat,
  crossEntropy,
  reduce,
  rmsNorm,
  rope,
  rotaryFrequencies,
  rotaryTable,
  slice,
  takeAlong,
  unary,
  where,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import {
  agreeing,
  at,
  caseOf,
  constant,
  holds,
  mapped,
  observed,
  staysInRow,
} from "./l3-support.ts";

/** The ops of `rmsNorm` where it is taken apart. */
export const NORM_OPS: readonly AnyOp[] = [binary, unary, reduce];
/** Those of `rope`. */
export const ROPE_OPS: readonly AnyOp[] = [binary, unary, slice, concat];
/** Those of `crossEntropy`. */
export const LOSS_OPS: readonly AnyOp[] = [binary, unary, compare, where, reduce, takeAlong];

const modelCase = (
  what: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => caseOf("L4", what, { demand, ops, run });

async function norm(test: CaseContext, x: HostTensor, epsilon = 1e-5): Promise<void> {
  const weight = test.random.uniform([x.shape.at(-1) ?? 0], 0.5, 1.5);
  await holds(test, { x, weight }, (given) => ({ y: rmsNorm(given.x, given.weight, { epsilon }) }));
}

const norms: readonly ConformanceCase[] = [
  ...[1, 3, 31, 64, 65, 129, 2049].map((width) =>
    modelCase(
      `rms-norm/width-${width}`,
      `rows of ${width} are divided by their root mean square`,
      NORM_OPS,
      (test) => norm(test, test.random.normal([5, width])),
    ),
  ),
  modelCase(
    "rms-norm/shapes",
    "any leading dimensions, none and empty ones too",
    NORM_OPS,
    async (test) => {
      for (const shape of [[2, 3, 17], [17], [0, 17]]) await norm(test, test.random.normal(shape));
    },
  ),
  modelCase("rms-norm/zero-row", "a row of zeros stays a row of zeros", NORM_OPS, (test) =>
    norm(test, constant([2, 9], 0), 1e-6),
  ),
  modelCase("rms-norm/epsilon", "epsilon is added to the mean square", NORM_OPS, async (test) => {
    const x = test.random.normal([4, 20], 1e-2);
    for (const epsilon of [1e-2, 1e-4, 1]) await norm(test, x, epsilon);
  }),
  modelCase(
    "rms-norm/large",
    "large rows are normed without overflow below 10¹⁵",
    NORM_OPS,
    (test) => norm(test, test.random.normal([3, 33], 1e15)),
  ),
  modelCase("rms-norm/nan-token", "NaN in one token stays there", NORM_OPS, (test) =>
    staysInRow(
      test,
      { x: test.random.normal([5, 33]), weight: test.random.normal([33]) },
      "x",
      2,
      (given) => ({ y: rmsNorm(given.x, given.weight, { epsilon: 1e-5 }) }),
    ),
  ),
];

/** Tables for positions on a backend. */
export function tableFor(
  backend: Backend,
  dtype: FloatDType,
  positions: readonly number[],
  pairs: number,
): RotaryTable {
  const frequencies = rotaryFrequencies(2 * pairs, 10_000);
  return rotaryTable(backend, { positions, frequencies, dtype });
}

const positionsOf = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_, index) => first + index);

interface Turn extends RopeAttributes {
  readonly shape: readonly number[];
  readonly pairs: number;
  readonly first?: number;
}

async function turned(test: CaseContext, turn: Turn): Promise<void> {
  const { shape, pairs, first, ...attributes } = turn;
  const x = test.random.normal(shape);
  await holds(test, { x }, (given, { backend, float }) => {
    const tokens = shape.at(-3) ?? 0;
    const { cos, sin } = tableFor(backend, float, positionsOf(tokens, first), pairs);
    return { y: rope(given.x, cos, sin, attributes) };
  });
}

const ropes: readonly ConformanceCase[] = [
  ...[false, true].map((interleaved) =>
    modelCase(
      `rope/${interleaved ? "interleaved" : "halves"}`,
      `pairs are ${interleaved ? "neighbours" : "the two halves"}, turned forward and back`,
      ROPE_OPS,
      async (test) => {
        const shape = [2, 9, 3, 8];
        await turned(test, { shape, pairs: 4, interleaved });
        await turned(test, { shape, pairs: 4, interleaved, inverse: true });
        await turned(test, { shape: [1, 1, 1, 2], pairs: 1, interleaved, first: 7 });
      },
    ),
  ),
  modelCase(
    "rope/partial",
    "what lies beyond the turned width stays as it is",
    ROPE_OPS,
    async (test) => {
      await turned(test, { shape: [5, 2, 11], pairs: 3 });
      await turned(test, { shape: [5, 2, 11], pairs: 3, interleaved: true });
    },
  ),
  modelCase("rope/far-position", "far positions turn by their own angle", ROPE_OPS, (test) =>
    turned(test, { shape: [3, 2, 16], pairs: 8, first: 131_000 }),
  ),
  modelCase("rope/no-tokens", "no tokens", ROPE_OPS, (test) =>
    turned(test, { shape: [2, 0, 2, 8], pairs: 4 }),
  ),
  modelCase(
    "rope/back",
    "a turn and its inverse give back what was there",
    ROPE_OPS,
    async (test) => {
      for (const interleaved of [false, true]) {
        const x = test.random.normal([6, 2, 10]);
        await agreeing(
          test,
          { x },
          (given, { backend, float }) => {
            const { cos, sin } = tableFor(backend, float, positionsOf(6), 5);
            const there = rope(given.x, cos, sin, { interleaved });
            return { x: given.x, back: rope(there, cos, sin, { interleaved, inverse: true }) };
          },
          [["x", "back"]],
        );
      }
    },
  ),
];

const classes = (test: CaseContext, rows: number, width: number): HostTensor =>
  test.random.integers([rows], 0, width - 1);

async function loss(test: CaseContext, logits: HostTensor, targets: HostTensor): Promise<void> {
  await holds(test, { logits, targets }, (given) => ({
    loss: crossEntropy(given.logits, given.targets),
  }));
}

const losses: readonly ConformanceCase[] = [
  ...[2, 33, 129, 1000, 5003].map((width) =>
    modelCase(
      `cross-entropy/classes-${width}`,
      `each row's loss over ${width} classes is that of its target`,
      LOSS_OPS,
      (test) => loss(test, test.random.normal([7, width], 2), classes(test, 7, width)),
    ),
  ),
  modelCase("cross-entropy/one-class", "a single class costs nothing", LOSS_OPS, async (test) => {
    const inputs = { logits: test.random.normal([4, 1]), targets: hostTensor([0, 0, 0, 0], "i32") };
    const { loss: got } = await observed(test, inputs, (given) => ({
      loss: crossEntropy(given.logits, given.targets),
    }));
    for (const value of got?.data ?? [])
      test.expect(Math.abs(value) < 1e-6, `the loss is ${value}`);
  }),
  modelCase(
    "cross-entropy/ignored",
    "a target outside 0…V−1 is ignored: its loss is exactly 0",
    LOSS_OPS,
    async (test) => {
      const targets = hostTensor([-100, 5, 0, 4, -1, 2 ** 31 - 1], "i32");
      const inputs = { logits: test.random.normal([6, 5]), targets };
      const body = (given: { readonly logits: Tensor; readonly targets: Tensor }) => ({
        loss: crossEntropy(given.logits, given.targets),
      });
      await holds(test, inputs, body);
      const got = at(await observed(test, inputs, body), "loss").data;
      for (const row of [0, 1, 4, 5]) test.expect(got[row] === 0, `row ${row} costs ${got[row]}`);
    },
  ),
  modelCase(
    "cross-entropy/large",
    "logits of ±10⁴ neither overflow nor vanish",
    LOSS_OPS,
    async (test) => {
      const signs = test.random.bools([5, 9]);
      const logits = mapped(test.random.normal([5, 9]), (value, index) =>
        signs.data[index] === 1 ? 1e4 + value : value - 1e4,
      );
      await loss(test, logits, classes(test, 5, 9));
      await loss(test, constant([2, 7], 1e4), classes(test, 2, 7));
    },
  ),
  modelCase("cross-entropy/no-rows", "no rows", LOSS_OPS, (test) =>
    loss(test, hostTensor([], "f32", [0, 5]), hostTensor([], "i32")),
  ),
  modelCase("cross-entropy/nan-token", "NaN in one row stays there", LOSS_OPS, (test) =>
    staysInRow(
      test,
      { logits: test.random.normal([5, 33]), targets: classes(test, 5, 33) },
      "logits",
      3,
      (given) => ({ loss: crossEntropy(given.logits, given.targets) }),
    ),
  ),
];

/** Cases of the parts of a model beside attention and the layer. */
export const modelCases: readonly ConformanceCase[] = [...norms, ...ropes, ...losses];

import {
  type BinaryKind,
  type UnaryKind,
  binary,
  broadcast,
  compare,
  unary,
  where,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { gradientCase, gradientsHold } from "./grad-support.ts";
import { mapped } from "./l3-support.ts";

type Draw = (test: CaseContext, shape: readonly number[]) => HostTensor;

const wide: Draw = ({ random }, shape) => random.normal(shape, 2);
const between =
  (low: number, high: number): Draw =>
  ({ random }, shape) =>
    random.uniform(shape, low, high);

const DOMAINS: readonly (readonly [UnaryKind, Draw])[] = [
  ["neg", wide],
  ["abs", wide],
  ["exp", between(-5, 5)],
  ["log", between(0.1, 9)],
  ["log1p", between(-0.8, 9)],
  ["sqrt", between(0.1, 9)],
  ["rsqrt", between(0.1, 9)],
  ["reciprocal", between(0.2, 5)],
  ["tanh", wide],
  ["erf", wide],
  ["sigmoid", wide],
  ["softplus", wide],
  ["sin", wide],
  ["cos", wide],
];

const unaries = DOMAINS.map(([kind, draw]) =>
  gradientCase(
    "L0",
    `unary-${kind}`,
    `the gradient of ${kind} is its derivative times what comes from above`,
    [unary],
    (test) => gradientsHold(test, { x: draw(test, [5, 13]) }, ["x"], ({ x }) => unary(x, { kind })),
  ),
);

const BINARIES: readonly (readonly [BinaryKind, Draw])[] = [
  ["add", wide],
  ["sub", wide],
  ["mul", wide],
  ["div", between(0.5, 2)],
  ["max", wide],
  ["min", wide],
  ["pow", between(0.5, 2)],
];

const binaries = BINARIES.map(([kind, draw]) =>
  gradientCase(
    "L0",
    `binary-${kind}`,
    `${kind} has a gradient for each operand, summed where it was broadcast`,
    [unary, compare, where],
    async (test) => {
      const a = draw(test, [3, 4, 5]);
      const b = mapped(draw(test, [3, 4, 5]), (value) => -value);
      const positive = kind === "pow" ? mapped(b, Math.abs) : b;
      await gradientsHold(test, { a, b: positive }, ["a", "b"], (given) =>
        binary(given.a, given.b, { kind }),
      );
      const inputs = { a, row: draw(test, [5]), column: draw(test, [4, 1]), one: draw(test, []) };
      await gradientsHold(test, inputs, ["a", "row", "column", "one"], (given) => [
        binary(given.a, given.row, { kind }),
        binary(given.column, given.a, { kind }),
        binary(given.a, given.one, { kind }),
        binary(given.column, given.row, { kind }),
        binary(given.a, undefined, { kind, scalar: 1.5 }),
      ]);
    },
  ),
);

const others: readonly ConformanceCase[] = [
  gradientCase(
    "L0",
    "extreme-tie",
    "where max or min has equal operands the gradient goes to the first",
    [compare, where],
    async (test) => {
      const a = test.random.integers([60], -1, 1);
      const b = test.random.integers([60], -1, 1);
      const float = (tensor: HostTensor): HostTensor => ({
        ...tensor,
        data: Float32Array.from(tensor.data),
        dtype: "f32",
      });
      await gradientsHold(test, { a: float(a), b: float(b) }, ["a", "b"], (given) => [
        binary(given.a, given.b, { kind: "max" }),
        binary(given.a, given.b, { kind: "min" }),
      ]);
    },
  ),
  gradientCase(
    "L0",
    "where",
    "each side gets the gradient where it was chosen, and 0 elsewhere",
    [where],
    async (test) => {
      const inputs = {
        condition: test.random.bools([4, 5]),
        a: test.random.normal([4, 5]),
        b: test.random.normal([5]),
      };
      await gradientsHold(test, inputs, ["a", "b"], ({ condition, a, b }) => [
        where(condition, a, b, {}),
        where(condition, a, undefined, { b: 2 }),
        where(condition, undefined, b, { a: 2 }),
      ]);
    },
  ),
  gradientCase(
    "L0",
    "where-poison",
    "NaN on the side that was not chosen does not reach the gradient of the other",
    [where],
    async (test) => {
      const inputs = {
        condition: test.random.bools([30]),
        a: test.random.normal([30]),
        b: test.random.normal([30]),
      };
      const b = mapped(inputs.b, (value, index) => (index % 2 === 0 ? Number.NaN : value));
      const condition = mapped(inputs.condition, (value, index) => (index % 2 === 0 ? 1 : value));
      await gradientsHold(test, { ...inputs, b, condition }, ["a"], (given) =>
        where(given.condition, given.a, given.b, {}),
      );
    },
  ),
  gradientCase(
    "L0",
    "broadcast",
    "what was repeated gets the sum over its copies",
    [broadcast],
    (test) =>
      gradientsHold(test, { x: test.random.normal([3, 1, 4]) }, ["x"], ({ x }) =>
        broadcast(x, { shape: [2, 3, 5, 4] }),
      ),
  ),
  gradientCase(
    "L0",
    "used-twice",
    "a tensor that is used several times gets the sum of its gradients",
    [unary],
    (test) =>
      gradientsHold(test, { x: test.random.normal([31]) }, ["x"], ({ x }) => {
        const y = unary(x, { kind: "tanh" });
        return [binary(x, y, { kind: "mul" }), y, binary(y, y, { kind: "add" })];
      }),
  ),
];

/** Gradients of elementwise ops. */
export const elementwiseGradientCases: readonly ConformanceCase[] = [
  ...unaries,
  ...binaries,
  ...others,
];

import { type Tensor, type UnaryKind, unary } from "@moiety/core";
import type { CaseContext, ConformanceCase, ProgramRun } from "../case.ts";
import { type HostTensor, hostTensor } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { LONG, SHAPES, contractCase, inputsFor } from "./l0-support.ts";

/** Where a function is asked, and at which points of interest. */
interface Domain {
  readonly kind: UnaryKind;
  values(random: CaseRandom, shape: readonly number[]): HostTensor;
  readonly points: readonly number[];
}

const wide = (random: CaseRandom, shape: readonly number[]): HostTensor => random.normal(shape, 5);
const between =
  (low: number, high: number) =>
  (random: CaseRandom, shape: readonly number[]): HostTensor =>
    random.uniform(shape, low, high);

const INTEGRAL = [
  0, -0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, 8388607.5, -8388607.5, 3e9, -3e9,
];
const SATURATED = [
  0, -0, 1e-30, -1e-30, 1e-4, -1e-4, 1, -1, 9, -9, 20, -20, 88, -88, 100, -100, 1e4, -1e4, 1e30,
  -1e30,
];
const POSITIVE = [1e-30, 1e-10, 0.001, 0.25, 0.999, 1, 1.001, 2, 4, 1e10, 1e30];

const DOMAINS: readonly Domain[] = [
  { kind: "neg", values: wide, points: [0, 1, -1, 1e-30, 3e38, -3e38] },
  { kind: "abs", values: wide, points: [0, -0, 1, -1, 1e-30, -3e38] },
  { kind: "sign", values: wide, points: [0, -0, 1e-30, -1e-30, 3e38, -3e38, Number.NaN] },
  { kind: "exp", values: between(-80, 80), points: [0, 1, -1, 88, -87, -200, -1e4] },
  { kind: "log", values: between(1e-3, 50), points: POSITIVE },
  { kind: "log1p", values: between(-0.9, 50), points: [0, 1e-30, -1e-30, 1e-7, -1e-7, 1e-3, 1e30] },
  { kind: "sqrt", values: between(0, 100), points: [0, ...POSITIVE] },
  { kind: "rsqrt", values: between(1e-3, 100), points: POSITIVE },
  { kind: "reciprocal", values: between(0.01, 10), points: [...POSITIVE, -1, -3, -1e10] },
  { kind: "tanh", values: wide, points: SATURATED },
  { kind: "erf", values: between(-5, 5), points: SATURATED },
  { kind: "sigmoid", values: wide, points: SATURATED },
  { kind: "softplus", values: wide, points: SATURATED },
  { kind: "sin", values: between(-30, 30), points: [0, 1e-4, 1, -1, 99, -99] },
  { kind: "cos", values: between(-30, 30), points: [0, 1e-4, 1, -1, 99, -99] },
  { kind: "floor", values: wide, points: INTEGRAL },
  { kind: "ceil", values: wide, points: INTEGRAL },
  { kind: "round", values: wide, points: INTEGRAL },
];

const each = (run: ProgramRun, kind: UnaryKind): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(run.inputs).map(([name, x]) => [`${kind} ${name}`, unary(x, { kind })]),
  );

function floatCase({ kind, values, points }: Domain): ConformanceCase {
  return contractCase(
    `unary/${kind}`,
    `unary ${kind} gives the function's value for floats of every shape, at its points of interest too`,
    [unary],
    ["f32"],
    async (test) => {
      const inputs = inputsFor(SHAPES, (shape) => values(test.random, shape));
      const all = { ...inputs, points: hostTensor(points) };
      await test.compare(all, (run) => each(run, kind));
    },
  );
}

const INTEGER_POINTS = [0, 1, 2, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff];

/** All bits of 32-bit integers, the ends of the range first. */
function integers(random: CaseRandom, dtype: "i32" | "u32"): HostTensor {
  const bits = random.bits([1025], dtype);
  for (const [index, point] of INTEGER_POINTS.entries()) bits.data[index] = point;
  return bits;
}

async function integerKinds(test: CaseContext): Promise<void> {
  const inputs = { i32: integers(test.random, "i32"), u32: integers(test.random, "u32") };
  await test.compare(inputs, (run) => ({
    ...each(run, "neg"),
    ...each(run, "abs"),
    ...each(run, "sign"),
  }));
}

/** NaN of both signs, quiet and signalling, with small and large payloads, among numbers. */
function nanPatterns(): HostTensor {
  const words = new Uint32Array([
    0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7f800000, 0xff800000,
    0x7f7fffff, 0xff7fffff, 0, 0x80000000, 0x00000001, 0x3f800000,
  ]);
  const shape = [words.length];
  return { data: new Float32Array(words.buffer), shape, dtype: "f32" };
}

/** Cases of `unary`. */
export const unaryCases: readonly ConformanceCase[] = [
  ...DOMAINS.map(floatCase),
  contractCase(
    "unary/integers",
    "neg, abs and sign of i32 and u32 wrap at the ends of their range",
    [unary],
    ["i32", "u32"],
    integerKinds,
  ),
  contractCase(
    "unary/long",
    "functions reach every element of long tensors",
    [unary],
    ["f32"],
    async (test) => {
      await test.compare({ x: test.random.normal(LONG) }, (run) => ({
        ...each(run, "neg"),
        ...each(run, "exp"),
      }));
    },
  ),
  contractCase(
    "unary/is-nan",
    "isNaN looks at the bits: every NaN is one, ±∞ and numbers are none",
    [unary],
    ["f32", "bool"],
    async (test) => {
      const nan = nanPatterns();
      const { y } = await test.observe({ nan }, (run) => ({
        y: unary(run.inputs.nan, { kind: "isNaN" }),
      }));
      const wanted = Uint32Array.from(nan.data, (value) => (Number.isNaN(value) ? 1 : 0));
      test.same("isNaN", y.data, wanted);
      const inputs = inputsFor(SHAPES, (shape) => test.random.normal(shape));
      await test.compare(inputs, (run) => each(run, "isNaN"));
    },
  ),
  contractCase("unary/not", "not turns 1 into 0 and 0 into 1", [unary], ["bool"], async (test) => {
    const inputs = inputsFor(SHAPES, (shape) => test.random.bools(shape));
    await test.compare(inputs, (run) => each(run, "not"));
  }),
];

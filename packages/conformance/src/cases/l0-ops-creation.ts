import { type DType, type Shape, type Tensor, cast, fill, iota, isFloat } from "@moiety/core";
import type { CaseContext, ConformanceCase, ProgramRun } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { ALL_DTYPES, LONG, SHAPES, claimed, contractCase } from "./l0-support.ts";

const FILL_VALUES: Readonly<Record<string, readonly number[]>> = {
  f32: [0, 1, -1.5, 0.1, 1e30, -3e38, 16_777_217],
  i32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 16_777_217],
  u32: [0, 1, 2 ** 31, 2 ** 32 - 1, 16_777_217],
  bool: [0, 1],
  f16: [0, 1, -1.5, 0.1, 65_504, 1e-4, 2049, 2051],
  bf16: [0, 1, -1.5, 0.1, 3e38, 257, 259],
  u8: [0, 1, 127, 255],
};

function fillCase(dtype: DType): ConformanceCase {
  return contractCase(
    `fill/${dtype}`,
    `fill gives ${dtype} tensors of every shape whose every element is the value, rounded to nearest`,
    [fill],
    [dtype],
    async (test) => {
      const values = FILL_VALUES[dtype] ?? [];
      await test.compare({}, ({ backend, float }) =>
        Object.fromEntries(
          [...SHAPES, LONG].flatMap((shape, index) =>
            (index < 3 ? values : values.slice(1, 2)).map((value) => [
              `${value} [${shape}]`,
              fill(backend, { shape, value, dtype: isFloat(dtype) ? float : dtype }),
            ]),
          ),
        ),
      );
    },
  );
}

function iotaOf(run: ProgramRun, shapes: readonly Shape[]): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (const shape of shapes) {
    for (const axis of shape.keys()) {
      for (const dtype of [run.float, "i32", "u32"] as const) {
        outputs[`${isFloat(dtype) ? "float" : dtype} [${shape}] ${axis}`] = iota(run.backend, {
          shape,
          axis,
          dtype,
        });
      }
    }
  }
  return outputs;
}

/** Floats at which a cast rounds, saturates, truncates or overflows. */
const FLOAT_POINTS = [
  0, -0, 0.4, -0.4, 0.5, -0.5, 0.9999, 1, 1.5, 2.5, -1, -1.5, -2.5, 127.5, 254.9, 255, 255.5, 256,
  300, -300, 2047, 2049, 2051, 4099, 65_504, 65_519.9, 65_520, 65_536, -65_520, 1e-3, 6.104e-5,
  16_777_216, 2_147_483_520, 2_147_483_648, -2_147_483_648, -2_147_483_904, 4_294_967_040,
  4_294_967_296, 1e10, -1e10, 3.389e38, -3.389e38, 1.0078125, 1.00390625, 1.01171875, 257, 259,
];
const INTEGER_POINTS = [
  0, 1, 2, 127, 128, 255, 256, 257, 300, 2049, 2051, 65_519, 65_520, 65_536, 16_777_215, 16_777_216,
  16_777_217, 16_777_219, 33_554_435, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffeff, 0xffffff00,
  0xfffffffe, 0xffffffff,
];

/** What a cast is tried on: points of interest, then random values of every size. */
function castInput({ random }: CaseContext, dtype: DType): HostTensor {
  switch (dtype) {
    case "f32": {
      // Above what is subnormal in f16, which a backend may flush.
      const mantissas = random.uniform([2048], 1, 2);
      const exponents = random.integers([2048], -14, 34);
      const spread = Array.from(
        mantissas.data,
        (value, index) => value * 2 ** (exponents.data[index] ?? 0) * (index % 2 === 0 ? 1 : -1),
      );
      return hostTensor([...FLOAT_POINTS, ...spread]);
    }
    case "i32":
    case "u32":
      return hostTensor([...INTEGER_POINTS, ...random.bits([2048], dtype).data], dtype);
    case "bool":
      return random.bools([1031]);
    case "u8":
      return generated([256], "u8", (index) => index);
    default:
      return finiteHalves(dtype);
  }
}

/** Every bit pattern of a 16-bit float that is neither NaN nor ∞, nor subnormal. */
function finiteHalves(dtype: DType): HostTensor {
  const mantissa = dtype === "f16" ? 10 : 7;
  const top = 2 ** (15 - mantissa) - 1;
  const patterns = Array.from({ length: 65_536 }, (_, bits) => bits).filter((bits) => {
    const exponent = (bits >> mantissa) & top;
    return (exponent !== top && exponent !== 0) || (bits & 0x7fff) === 0;
  });
  return hostTensor(patterns, dtype);
}

/** One element of every `step`. */
function slicedTo({ data, dtype }: HostTensor, step: number): HostTensor {
  return hostTensor(
    data.filter((_, index) => index % step === 0),
    dtype,
  );
}

function castCase(from: DType): ConformanceCase {
  return contractCase(
    `cast/from-${from}`,
    `cast of ${from} to every claimed dtype: to nearest even, toward zero and saturating to integers`,
    [cast],
    [from],
    async (test) => {
      const targets = claimed(test, ALL_DTYPES);
      const x = castInput(test, from);
      const every = slicedTo(x, x.data.length > 4096 ? 31 : 1);
      await test.compare({ x: every }, ({ float, inputs: { x } }) =>
        Object.fromEntries(
          targets.map((dtype) => [dtype, cast(x, { dtype: isFloat(dtype) ? float : dtype })]),
        ),
      );
      // Halves are few enough to be widened each.
      await test.compare({ x }, ({ float, inputs: { x } }) => ({ all: cast(x, { dtype: float }) }));
    },
  );
}

/** Cases of `fill`, `iota` and `cast`. */
export const creationCases: readonly ConformanceCase[] = [
  ...ALL_DTYPES.map(fillCase),
  contractCase(
    "iota/axes",
    "iota counts along any axis of any shape, exactly",
    [iota],
    ["f32", "i32", "u32"],
    async (test) => {
      await test.compare({}, (run) => iotaOf(run, [...SHAPES, LONG]));
    },
  ),
  ...ALL_DTYPES.map(castCase),
  contractCase(
    "cast/nan",
    "NaN becomes 0 as an integer, true as a bool, and stays NaN as a float",
    [cast],
    ["f32", "i32", "u32", "bool"],
    async (test) => {
      const words = new Uint32Array([0x7fc00000, 0xffc00000, 0x7f800001, 0x7fffffff, 0x3f800000]);
      const x: HostTensor = { data: new Float32Array(words.buffer), shape: [5], dtype: "f32" };
      const halves = claimed(test, ["f16", "bf16"]);
      await test.compare({ x }, ({ inputs: { x } }) =>
        Object.fromEntries(
          [...claimed(test, ["i32", "u32", "bool", "u8"]), ...halves].map((dtype) => [
            dtype,
            cast(x, { dtype }),
          ]),
        ),
      );
    },
  ),
];

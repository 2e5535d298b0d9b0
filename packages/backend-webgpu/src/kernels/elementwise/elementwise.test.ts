import {
  type BinaryKind,
  type CompareKind,
  type Shape,
  type Tensor,
  type UnaryKind,
  binary,
  compare,
  randomKey,
  hostBits,
  sizeOf,
  unary,
  where,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, pairChecks, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

const NUMBERS = [0, -0, 1, -1, 0.5, -2.5, 1.5, 2.5, 3.75, -7.125, 100, 1e-3, -1e6, 0.1, 12, -0.25];
const WHOLE_I32 = [0, 1, -1, 2, -2, 7, -7, 100, 2 ** 31 - 1, -(2 ** 31), 65_537, -65_537];
const WHOLE_U32 = [0, 1, 2, 3, 7, 100, 2 ** 32 - 1, 2 ** 31, 65_537, 4_000_000_000];

describe.skipIf(!gpu.available)("elementwise", () => {
  const pairs = pairChecks(256);
  const { check, checkSegmented, checkBoth } = pairs;

  describe("unary", () => {
    const domains: Readonly<Partial<Record<UnaryKind, readonly [number, number]>>> = {
      log: [1e-6, 50],
      log1p: [-0.99, 30],
      sqrt: [0, 1e4],
      rsqrt: [1e-4, 1e4],
      reciprocal: [0.01, 100],
      exp: [-80, 80],
      sin: [-100, 100],
      cos: [-100, 100],
      tanh: [-12, 12],
      sigmoid: [-85, 85],
      softplus: [-60, 60],
      erf: [-5, 5],
    };
    const kinds: readonly UnaryKind[] = [
      ...(Object.keys(domains) as UnaryKind[]),
      ...(["neg", "abs", "sign", "floor", "ceil", "round", "isNaN"] as const),
    ];
    it.each(kinds)("%s of f32", async (kind) => {
      const [low, high] = domains[kind] ?? [-100, 100];
      const values = spread(low, high, 4001);
      // One element a row: the error is that of each value by itself.
      const units = worstUnits(
        await pairs.whole.gpu.tensor(values),
        await pairs.whole.cpu.tensor(Float64Array.from(values)),
        kind,
      );
      expect(await units).toBeLessThan(BUDGETS[kind] ?? 1e-9);
    });

    it.each(kinds)("%s of NaN, infinities and the ends of the range", async (kind) => {
      const ends = [0, -0, NaN, Infinity, -Infinity, 3e38, -3e38];
      // Of functions that compute, hardware may take a subnormal number for 0.
      const tiny = BY_BITS.includes(kind) ? [1e-40, -1e-40] : [];
      const values = Float32Array.from([...ends, ...tiny]);
      const found = await unary(pairs.whole.gpu.tensor(values), { kind }).read();
      const wanted = await unary(pairs.whole.cpu.tensor(values), { kind }).read();
      for (const [index, value] of values.entries()) {
        const [got = 0, want = 0] = [found[index], wanted[index]];
        // Beyond 10^5 the arguments of waves are not promised.
        if ((kind === "sin" || kind === "cos") && Math.abs(want) > 0 && value !== 0) {
          expect(Math.abs(got)).toBeLessThanOrEqual(1);
        } else {
          const near = Math.abs(got - want) <= 1e-5 * Math.abs(want) + 2 ** -126;
          expect([value, near ? want : got]).toEqual([value, want]);
        }
      }
    });

    it.each(["neg", "abs", "sign"] as const)("%s of integers wraps", async (kind) => {
      await check((backend) => [
        unary(backend.tensor(Int32Array.from(WHOLE_I32)), { kind }),
        unary(backend.tensor(Uint32Array.from(WHOLE_U32)), { kind }),
      ]);
    });

    it("not of bool, of every size up to a few vectors", async () => {
      for (const size of [0, 1, 2, 3, 4, 5, 63, 64, 65, 257]) {
        const values = Array.from({ length: size }, (_, index) => index % 3 === 0);
        await check((backend) => unary(backend.tensor(values, { dtype: "bool" }), { kind: "not" }));
      }
    });
  });

  describe("binary", () => {
    const floats: readonly BinaryKind[] = ["add", "sub", "mul", "div", "max", "min"];
    it.each(floats)("%s of f32", async (kind) => {
      await check((backend) => {
        const [a, b] = crossed(backend.tensor(Float32Array.from(NUMBERS)));
        return binary(a, b, { kind });
      }, 3e-7);
    });

    it.each(["add", "sub", "mul", "div", "rem", "max", "min"] as const)(
      "%s of integers wraps, and is 0 over 0",
      async (kind) => {
        await check((backend) => {
          const signed = crossed(backend.tensor(Int32Array.from(WHOLE_I32)));
          const unsigned = crossed(backend.tensor(Uint32Array.from(WHOLE_U32)));
          return [
            binary(...signed, { kind }),
            binary(...unsigned, { kind }),
            binary(signed[0], undefined, { kind, scalar: -3 }),
            binary(signed[0], undefined, { kind, scalar: 0 }),
            binary(unsigned[0], undefined, { kind, scalar: 4_000_000_001 }),
          ];
        });
      },
    );

    it.each(["and", "or"] as const)("%s of bool", async (kind) => {
      await check((backend) => {
        const values = backend.tensor([true, false, true, true, false]);
        return [
          binary(...crossed(values), { kind }),
          binary(values, undefined, { kind, scalar: 1 }),
        ];
      });
    });

    it("max and min lose NaN unless both are, and keep the values' bits", async () => {
      const values = Float32Array.of(NaN, 1, -2, 0, -0, Infinity, -Infinity, 1e-42, -1e-42);
      await check((backend) => {
        const [a, b] = crossed(backend.tensor(values));
        return (["max", "min"] as const).flatMap((kind) => [
          binary(a, b, { kind }),
          binary(a, undefined, { kind, scalar: Number.NaN }),
          binary(a, undefined, { kind, scalar: -1 }),
        ]);
      }, 0);
    });

    it("pow: positive bases, whole powers of negative ones, 0 and 1", async () => {
      const bases = Float32Array.from([0, 1, 2, 0.5, 10, 1.0001, 1e-3, 30, -1, -2, -0.5, -3.5]);
      const whole = Float32Array.from([0, 1, 2, 3, -1, -2, 5, -3, 8]);
      const any = Float32Array.from([0.5, -0.5, 1.7, -2.25, 0.1, 7.3]);
      const check = async (a: Float32Array, b: Float32Array): Promise<void> => {
        const compute = (backend: typeof pairs.whole.gpu): Tensor => {
          const left = backend.tensor(a, { shape: [a.length, 1] });
          return binary(left, backend.tensor(b), { kind: "pow" });
        };
        const [found, wanted] = [
          await compute(pairs.whole.gpu).read(),
          await compute(pairs.whole.cpu).read(),
        ];
        for (const [index, want] of wanted.entries()) {
          const [base = 0, power = 0] = [a[Math.floor(index / b.length)], b[index % b.length]];
          const got = found[index] ?? 0;
          if (!Number.isFinite(want)) expect([base, power, got]).toEqual([base, power, want]);
          else {
            const units = Math.abs(got - want) / (Math.abs(want) * 2 ** -24 || 2 ** -126);
            const budget = 8 + 4 * Math.abs(power * Math.log2(Math.abs(base) || 1));
            expect([base, power, units < budget]).toEqual([base, power, true]);
          }
        }
      };
      await check(bases, whole);
      await check(bases.slice(0, 8), any);
      const undefinedPower = binary(pairs.whole.gpu.tensor([-2]), undefined, {
        kind: "pow",
        scalar: 0.5,
      });
      expect([...(await undefinedPower.read())]).toEqual([Number.NaN]);
    });

    const shapes: readonly (readonly [Shape, Shape])[] = [
      [[], []],
      [[1], [7]],
      [[5], []],
      [[8, 16], [16]],
      [
        [8, 16],
        [8, 1],
      ],
      [[16], [8, 16]],
      [
        [8, 1],
        [8, 16],
      ],
      [[7, 5], [5]],
      [
        [7, 5],
        [7, 1],
      ],
      [
        [3, 1, 8],
        [1, 5, 8],
      ],
      [
        [3, 1, 7],
        [2, 1, 5, 1],
      ],
      [
        [2, 1, 4, 1, 3],
        [1, 3, 1, 2, 3],
      ],
      [[0, 4], [4]],
      [
        [3, 0],
        [3, 1],
      ],
      [
        [4, 3, 8],
        [4, 1, 8],
      ],
      [
        [130, 4],
        [130, 1],
      ],
    ];
    it.each(shapes)("broadcasts %j with %j", async (left, right) =>
      checkBoth((backend) => {
        const a = randomTensor(backend, 1, left);
        const b = randomTensor(backend, 2, right);
        return [binary(a, b, { kind: "sub" }), compare(b, a, { kind: "lt" })];
      }, 2e-7),
    );

    it("broadcasts any shapes that go together", async () => {
      const axes = fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.constantFrom(0, 1, 2, 3)), {
        maxLength: 4,
      });
      await fc.assert(
        fc.asyncProperty(axes, fc.integer({ min: 0, max: 4 }), async (sizes, cut) => {
          // 1 and 2 leave an axis of one side at 1; an axis may be missing in front.
          const left = sizes.map(([size, how]) => (how === 1 ? 1 : size));
          const right = sizes.map(([size, how]) => (how === 2 ? 1 : size)).slice(cut);
          await check((backend) => {
            const a = randomTensor(backend, 1, left);
            const b = randomTensor(backend, 2, right);
            return [binary(a, b, { kind: "sub" }), binary(b, a, { kind: "min" })];
          }, 2e-7);
        }),
        { numRuns: 25, seed: 5 },
      );
    });

    it("takes tensors in many segments", async () => {
      await checkSegmented((backend) => {
        const a = randomTensor(backend, 3, [33, 20]);
        const b = randomTensor(backend, 4, [33, 20]);
        const row = randomTensor(backend, 5, [20]);
        return [
          binary(a, b, { kind: "add" }),
          binary(binary(a, row, { kind: "mul" }), undefined, { kind: "add", scalar: 2 }),
          unary(a, { kind: "neg" }),
        ];
      }, 2e-7);
    });

    it("takes tensors in more segments than a kernel can bind, in any order", async () => {
      await checkSegmented((backend) => {
        const a = randomTensor(backend, 3, [70, 20]);
        const column = randomTensor(backend, 4, [70, 1, 1]);
        const planes = randomTensor(backend, 5, [70, 1, 20]);
        return [
          binary(a.reshape([70, 1, 20]), column, { kind: "add" }),
          binary(randomTensor(backend, 6, [70, 3, 20]), planes, { kind: "mul" }),
          binary(randomTensor(backend, 7, [70, 3, 5]), column, { kind: "mul" }),
        ];
      }, 2e-7);
    });

    it("takes more elements than one dimension of workgroups holds", async () => {
      const size = 65_536 * 64 * 4 + 5;
      const ones = binary(zerosOf(pairs.whole, [size]), undefined, { kind: "add", scalar: 1 });
      const values = await ones.read();
      expect(values.every((value) => value === 1)).toBe(true);
    });
  });

  describe("compare", () => {
    const kinds: readonly CompareKind[] = ["eq", "ne", "lt", "le", "gt", "ge"];
    const values = [0, -0, 1, -1, 1e-42, -1e-42, Infinity, -Infinity, NaN, 3.5, 3.5000002];
    it.each(kinds)("%s", async (kind) => {
      await check((backend) => {
        const floats = crossed(backend.tensor(Float32Array.from(values)));
        return [
          compare(...floats, { kind }),
          compare(...crossed(backend.tensor(Int32Array.from(WHOLE_I32))), { kind }),
          compare(...crossed(backend.tensor(Uint32Array.from(WHOLE_U32))), { kind }),
          ...values.map((scalar) => compare(floats[0], undefined, { kind, scalar })),
        ];
      });
    });

    it.each(["eq", "ne"] as const)("%s of bool", async (kind) => {
      await check((backend) => {
        const flags = backend.tensor([true, false, false, true, true]);
        return [
          compare(...crossed(flags), { kind }),
          compare(flags, undefined, { kind, scalar: 1 }),
        ];
      });
    });
  });

  describe("where", () => {
    it("takes tensors and scalars of every dtype, and looks at nothing that is not chosen", async () =>
      checkBoth((backend) => {
        const condition = backend.tensor(
          Array.from({ length: 150 }, (_, index) => index % 3 === 1),
          { shape: [30, 5] },
        );
        const poison = Float32Array.from({ length: 150 }, (_, i) => (i % 3 === 1 ? i : NaN));
        const a = backend.tensor(poison, { shape: [30, 5] });
        const b = randomTensor(backend, 9, [5]);
        const flags = backend.tensor([true, false, true, false, true]);
        const whole = backend.tensor(Int32Array.of(-1, 2, -3, 4, -5));
        return [
          where(condition, a, b, {}),
          where(condition, a, undefined, { b: 0 }),
          where(condition, undefined, b, { a: -1.5 }),
          where(condition, undefined, undefined, { a: 3, b: -4, dtype: "i32" }),
          where(condition, undefined, undefined, { a: 1, b: 0, dtype: "bool" }),
          where(condition, whole, undefined, { b: -(2 ** 31) }),
          where(flags, condition, undefined, { b: 0 }),
          where(flags, a, undefined, { b: Number.NaN }),
        ];
      }, 0));
  });
});

/** The functions that only look at bits. */
const BY_BITS: readonly UnaryKind[] = ["neg", "abs", "sign", "isNaN"];

/** Errors that each function may have, in units of 2^-24 of the value (or of 1 where it says so). */
const BUDGETS: Readonly<Partial<Record<UnaryKind, number>>> = {
  log: 4,
  log1p: 4,
  sqrt: 3,
  rsqrt: 3,
  reciprocal: 3,
  exp: 3,
  sin: 4,
  cos: 4,
  tanh: 6,
  sigmoid: 6,
  softplus: 6,
  erf: 4,
};

/** The worst error of a function against float64, in units of 2^-24 of the value. */
async function worstUnits(gpuInput: Tensor, cpuInput: Tensor, kind: UnaryKind): Promise<number> {
  const [found, wanted, inputs] = await Promise.all([
    unary(gpuInput, { kind }).read(),
    unary(cpuInput, { kind }).read(),
    cpuInput.read(),
  ]);
  let worst = 0;
  for (const [index, want] of wanted.entries()) {
    const error = Math.abs((found[index] ?? Number.NaN) - want);
    // Near their zeros sine and cosine are held to 1, and not to their value.
    const isWave = kind === "sin" || kind === "cos";
    const size = isWave ? Math.max(Math.abs(want), 1 / (1 + Math.abs(inputs[index] ?? 0))) : want;
    const units = error === 0 ? 0 : error / (Math.abs(size) * 2 ** -24);
    if (!(units <= worst)) worst = units;
  }
  return worst;
}

/** Values over a range, dense near its middle and near 0 too, rounded to f32. */
function spread(low: number, high: number, count: number): Float32Array {
  const bits = hostBits(randomKey(7), count);
  return Float32Array.from(bits, (word, index) => {
    const share = (word >>> 8) * 2 ** -24;
    const value = low + (high - low) * share;
    if (index % 3 === 0) return value;
    const near = value * 2 ** -((word & 255) % 12);
    return near > low && near < high ? near : value;
  });
}

/** Every element with every other: a column and a row of one tensor. */
function crossed(x: Tensor): [Tensor, Tensor] {
  return [x.reshape([sizeOf(x.shape), 1]), x];
}

function zerosOf({ gpu: backend }: Pair, shape: Shape): Tensor {
  return backend.tensor(new Float32Array(sizeOf(shape)), { shape });
}

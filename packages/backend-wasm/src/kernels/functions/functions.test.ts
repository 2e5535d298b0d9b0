import createCpu from "@moiety/backend-cpu";
import { hostUniform, randomKey, unary } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { Body } from "../../emit/body.ts";
import { Module } from "../../emit/module.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { probe } from "../../probe.ts";
import {
  cos4,
  erf4,
  exp4,
  expNormal4,
  log1p4,
  log4,
  pow4,
  sigmoid4,
  sin4,
  softplus4,
  tanh4,
} from "./index.ts";

/** Where arrays begin: two operands and the result. */
const [A, B, OUT] = [0, 2 ** 20, 2 ** 21];
const MOST = 2 ** 18;
const PAGES = 48;

type Function4 = (body: Body, a: F32x4, b: F32x4) => F32x4;
type Mapped = (a: Float32Array, b?: Float32Array) => Float32Array;

/** The function over whole arrays, with fused multiply-add or without. */
function compiled(compute: Function4, fused: boolean): Mapped {
  const module = new Module(
    { initialPages: PAGES, maximumPages: PAGES, shared: false },
    { fused, relaxedDot: false },
  );
  module.function(
    "map",
    { parameters: ["i32"] },
    (body) => {
      body.for(0, body.parameter(I32, 0), 16, (at) => {
        body.store(at, compute(body, F32x4.load(at, A), F32x4.load(at, B)), OUT);
      });
    },
    { exported: true },
  );
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const compiledModule = new WebAssembly.Module(module.bytes());
  const { exports } = new WebAssembly.Instance(compiledModule, { env: { memory } });
  const map = exports["map"] as (bytes: number) => void;
  return (a, b = a) => {
    const floats = new Float32Array(memory.buffer);
    floats.set(a, A / 4);
    floats.set(b, B / 4);
    map(a.byteLength);
    return floats.slice(OUT / 4, OUT / 4 + a.length);
  };
}

const bits = new Int32Array(1);
const asFloat = new Float32Array(bits.buffer);

/** Floats in order as integers, so that neighbours differ by one. */
function rank(value: number): number {
  asFloat[0] = value;
  const word = bits[0] ?? 0;
  return word < 0 ? -(word & 0x7fffffff) : word;
}

/** The gap between floats near a value. */
function unitOf(value: number): number {
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126)));
  return 2 ** (exponent - 23);
}

/** Floats from one to another, evenly spread over those that there are, with both ends. */
function spread(from: number, to: number, count: number = MOST): Float32Array {
  const [first, last] = [rank(from), rank(to)];
  return Float32Array.from({ length: count }, (_, index) => {
    const place = Math.round(first + ((last - first) * index) / (count - 1));
    bits[0] = place < 0 ? -place | -(2 ** 31) : place;
    return asFloat[0] ?? 0;
  });
}

const SPECIAL = Float32Array.of(
  0,
  -0,
  1,
  -1,
  Infinity,
  -Infinity,
  NaN,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  -(2 ** -126),
  3.4028234663852886e38,
  -3.4028234663852886e38,
  0.5,
  -0.5,
  2,
);

/** The largest error in units of the wanted value; ∞ where one is NaN or infinite and the other not. */
function worst(
  got: Float32Array,
  wanted: (index: number) => number,
  slack: number,
): { readonly error: number; readonly index: number } {
  let found = { error: 0, index: -1 };
  for (const [index, value] of got.entries()) {
    const want = wanted(index);
    if (Object.is(value, want) || value === Math.fround(want)) continue;
    const distance = Math.max(Math.abs(value - want) - slack, 0);
    const finite = Number.isFinite(value) && Number.isFinite(Math.fround(want));
    const error = Number.isNaN(value) && Number.isNaN(want) ? 0 : distance / unitOf(want);
    if (!finite && error !== 0) found = { error: Infinity, index };
    else if (error > found.error) found = { error, index };
  }
  return found;
}

const cpu = await createCpu();

/** The error function of the oracle, in float64. */
async function erfOf(x: Float32Array): Promise<(index: number) => number> {
  const values = await unary(cpu.tensor(Float64Array.from(x)), { kind: "erf" }).read();
  return (index) => values[index] ?? Number.NaN;
}

const FUSED = probe().relaxedMadd ? [false, true] : [false];

interface Case {
  readonly name: string;
  readonly compute: Function4;
  readonly wanted: (x: number) => number;
  readonly range: readonly [number, number];
  readonly units: number;
  /** What results may be off besides: flushed subnormals. */
  readonly slack?: number;
}

const EVERYTHING = [-3.4e38, 3.4e38] as const;

const CASES: readonly Case[] = [
  { name: "exp", compute: exp4, wanted: Math.exp, range: [-105, 90], units: 1.5 },
  { name: "exp", compute: exp4, wanted: Math.exp, range: EVERYTHING, units: 1.5 },
  {
    name: "expNormal",
    compute: expNormal4,
    wanted: Math.exp,
    range: [-100, 88.37],
    units: 1.5,
    slack: 2 ** -126,
  },
  { name: "log", compute: log4, wanted: Math.log, range: EVERYTHING, units: 1.5 },
  { name: "log", compute: log4, wanted: Math.log, range: [0.5, 2], units: 1.5 },
  { name: "log1p", compute: log1p4, wanted: Math.log1p, range: EVERYTHING, units: 1.5 },
  { name: "log1p", compute: log1p4, wanted: Math.log1p, range: [-1, 4], units: 1.5 },
  {
    name: "softplus",
    compute: softplus4,
    wanted: softplus,
    range: EVERYTHING,
    units: 2,
    slack: 2 ** -126,
  },
  {
    name: "softplus",
    compute: softplus4,
    wanted: softplus,
    range: [-120, 120],
    units: 2,
    slack: 2 ** -126,
  },
  {
    name: "sigmoid",
    compute: sigmoid4,
    wanted: sigmoid,
    range: EVERYTHING,
    units: 2.5,
    slack: 2 ** -126,
  },
  { name: "tanh", compute: tanh4, wanted: Math.tanh, range: EVERYTHING, units: 1.8 },
  { name: "tanh", compute: tanh4, wanted: Math.tanh, range: [-12, 12], units: 1.8 },
  { name: "sin", compute: sin4, wanted: Math.sin, range: EVERYTHING, units: 2.5 },
  { name: "sin", compute: sin4, wanted: Math.sin, range: [-1e6, 1e6], units: 2.5 },
  { name: "cos", compute: cos4, wanted: Math.cos, range: EVERYTHING, units: 2.5 },
  { name: "cos", compute: cos4, wanted: Math.cos, range: [-1e6, 1e6], units: 2.5 },
];

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

describe.each(FUSED)("functions of four floats, fused: %s", (fused) => {
  it.each(CASES)(
    "$name is within $units units on $range",
    ({ compute, wanted, range, units, slack = 0 }) => {
      const map = compiled(compute, fused);
      for (const x of [spread(...range), SPECIAL]) {
        const { error, index } = worst(map(x), (place) => wanted(x[place] ?? 0), slack);
        expect(error, `at ${x[index]}`).toBeLessThan(units);
      }
    },
  );

  it.each([[-4.5, 4.5] as const, EVERYTHING])(
    "erf is within 1.5 units from %f to %f",
    async (from, to) => {
      const map = compiled(erf4, fused);
      for (const x of [spread(from, to), SPECIAL]) {
        const { error, index } = worst(map(x), await erfOf(x), 0);
        expect(error, `at ${x[index]}`).toBeLessThan(1.5);
      }
    },
  );

  it("pow is right to the last place", () => {
    const map = compiled(pow4, fused);
    const random = Float32Array.from(hostUniform(randomKey(5), MOST));
    const base = spread(2 ** -149, 3.4e38);
    const exponent = random.map((value, index) => {
      const most = 104 / Math.max(Math.abs(Math.log(base[index] ?? 1)), 1e-4);
      return (2 * value - 1) * most;
    });
    const got = map(base, exponent);
    const { error, index } = worst(got, (place) => (base[place] ?? 0) ** (exponent[place] ?? 0), 0);
    expect(error, `at ${base[index]} ** ${exponent[index]}`).toBeLessThan(0.51);
  });

  it("pow takes signs, zeros and infinities as JavaScript does", () => {
    const map = compiled(pow4, fused);
    const exponents = [...SPECIAL, 3, -3, 0.25, 2 ** 24, 2 ** 24 + 2, 1e10];
    const bases = [...SPECIAL, -2, -8, 1.0000001, -0.9999999];
    const a = Float32Array.from(bases.flatMap((base) => exponents.map(() => base)));
    const b = Float32Array.from(bases.flatMap(() => exponents));
    const got = map(a, b);
    for (const [index, value] of got.entries()) {
      const wanted = Math.fround((a[index] ?? 0) ** (b[index] ?? 0));
      expect(Object.is(value, wanted), `${a[index]} ** ${b[index]} = ${value}, not ${wanted}`).toBe(
        true,
      );
    }
  });
});

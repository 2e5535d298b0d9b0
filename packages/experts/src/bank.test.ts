import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Activation,
  type Backend,
  type ExpertBank,
  type GateLayout,
  type Tensor,
  type TokenChoice,
  ConfigError,
  at,
  hostNormal,
  leavesOf,
  mixExperts,
  mul,
  randomKey,
  sizeOf,
  sum,
  valueAndGrad,
} from "@moiety/core";
import type { FfnBank } from "./bank.ts";
import { glu } from "./glu.ts";
import { mlp } from "./mlp.ts";
import type { FfnParams } from "./params.ts";
import { activations, times } from "./testing/reference.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const sizes = { experts: 4, hiddenSize: 3, intermediateSize: 5, initializerRange: 0.7 };

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });

/** A routing of seven tokens by hand; expert 3 has none and token 4's first choice was dropped. */
function routing(weighInput = false): TokenChoice {
  const indices = backend.tensor(Int32Array.of(0, 1, 2, 0, 1, 2, 0, 2, 4, 1, 2, 1, 0, 1), {
    shape: [7, 2],
  });
  const weights = random(8, [7, 2]);
  const logits = random(9, [7, 4]);
  return {
    kind: "token-choice",
    experts: 4,
    logits,
    scores: logits,
    indices,
    selected: indices,
    outputWeights: random(10, [7, 2]),
    inputWeights: weighInput ? weights : undefined,
  };
}

/** The same bank without its fused path. */
function unfused(bank: FfnBank<FfnParams>): ExpertBank<FfnParams> {
  const { ffn: _, ...rest } = bank;
  return rest;
}

const layouts: readonly GateLayout[] = [
  { packing: "concatenated", first: "gate" },
  { packing: "concatenated", first: "up" },
  { packing: "interleaved", first: "gate" },
  { packing: "interleaved", first: "up" },
];

const banks: [string, FfnBank<FfnParams>][] = [
  ...Object.keys(activations).map((name): [string, FfnBank<FfnParams>] => {
    const activation = name as Activation;
    return [`mlp ${name}`, mlp({ ...sizes, activation, bias: name !== "relu", outputSize: 6 })];
  }),
  ...layouts.map((layout): [string, FfnBank<FfnParams>] => [
    `glu ${layout.packing} ${layout.first}`,
    glu({ ...sizes, activation: "silu", bias: layout.first === "up", layout }),
  ]),
  [
    "glu as in gpt-oss",
    glu({
      ...sizes,
      activation: "silu",
      bias: true,
      transposed: true,
      layout: { packing: "interleaved", first: "gate" },
      clamp: { limit: 0.8 },
      alpha: 1.702,
      upOffset: 1,
    }),
  ],
];

describe.each(banks)("%s", (_, bank) => {
  const init = () => bank.init(randomKey(1), { backend, dtype: "f64" }).params;

  it("states the shape of every parameter", () => {
    const shapes = leavesOf(init()).map(({ path, leaf }) => [path, (leaf as Tensor).shape]);
    expect(Object.fromEntries(shapes)).toEqual(bank.shapes);
  });

  it.each([false, true])(
    "fused and by rows it gives the same (input weights: %s)",
    async (input) => {
      const params = { ...init(), ...nonZeroBiases(bank) };
      const x = random(3, [7, 3]);
      const route = routing(input);
      const outputs = await Promise.all(
        [bank, unfused(bank)].map((one) => mixExperts(one, params, x, route).read()),
      );
      expect([...(outputs[0] ?? [])]).toEqual([...(outputs[1] ?? [])]);
      expect(outputs[0]?.some((value) => value !== 0)).toBe(true);
    },
  );

  it("has the gradient of central differences", async () => {
    const params = { ...init(), ...nonZeroBiases(bank) };
    const x = random(3, [7, 3]);
    const upstream = random(4, [7, bank.outputSize]);
    const tree = { params, x, weights: routing().outputWeights };
    for (const one of [bank, unfused(bank)]) {
      const loss = ({ params: p, x: input, weights }: typeof tree): Tensor =>
        sum(mul(mixExperts(one, p, input, { ...routing(), outputWeights: weights }), upstream));
      const { grads } = valueAndGrad(loss)(tree);
      for (const { path, leaf } of leavesOf(tree)) {
        const values = (await (leaf as Tensor).read()) as Float64Array;
        const gradient = (await (at(grads, path) as Tensor).read()) as Float64Array;
        const index = gradient.findIndex((value) => Math.abs(value) > 1e-3);
        const shifted = async (by: number): Promise<number> => {
          const moved = backend.tensor(values.with(index, (values[index] ?? 0) + by), {
            shape: (leaf as Tensor).shape,
          });
          return loss(replaced(tree, path, moved)).item();
        };
        const numeric = ((await shifted(1e-5)) - (await shifted(-1e-5))) / 2e-5;
        expect(numeric / (gradient[index] ?? Number.NaN), path).toBeCloseTo(1, 6);
      }
    }
  });
});

it("computes down(act(up x + b)) + b", async () => {
  for (const activation of Object.keys(activations) as Activation[]) {
    const bank = mlp({ ...sizes, experts: 1, activation, bias: true });
    const { up, down } = bank.init(randomKey(1), { backend, dtype: "f64" }).params;
    const params = { up, down, upBias: random(5, [1, 5]), downBias: random(6, [1, 3]) };
    const x = random(7, [1, 3]);
    const numbers = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];
    const hidden = times(await numbers(up), await numbers(x));
    const biases = await numbers(params.upBias);
    const active = hidden.map((value, index) =>
      activations[activation](value + (biases[index] ?? 0)),
    );
    const out = await numbers(params.downBias);
    const expected = times(await numbers(down), active).map((value, i) => value + (out[i] ?? 0));
    const actual = await numbers(mixExperts(bank, params, x, single()));
    for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 12);
  }
});

it("computes down(act(gate x) · up x) in every layout", async () => {
  const x = random(7, [1, 3]);
  const gate = random(11, [5, 3]);
  const up = random(12, [5, 3]);
  const [g, u, input] = await Promise.all(
    [gate, up, x].map(async (tensor) => [...(await tensor.read())]),
  );
  const rows = (of: readonly number[]): number[][] =>
    Array.from({ length: 5 }, (_, row) => of.slice(3 * row, 3 * row + 3));
  for (const layout of layouts) {
    const bank = glu({ ...sizes, experts: 1, activation: "silu", layout });
    const { down } = bank.init(randomKey(1), { backend, dtype: "f64" }).params;
    const [first, second] = layout.first === "gate" ? [g, u] : [u, g];
    const packed =
      layout.packing === "concatenated"
        ? [...rows(first ?? []), ...rows(second ?? [])]
        : rows(first ?? []).flatMap((row, index) => [row, rows(second ?? [])[index] ?? []]);
    const gateUp = backend.tensor(Float64Array.from(packed.flat()), { shape: [1, 10, 3] });
    const hidden = times(g ?? [], input ?? []).map(
      (value, index) => activations.silu(value) * (times(u ?? [], input ?? [])[index] ?? 0),
    );
    const expected = times([...(await down.read())], hidden);
    const actual = await mixExperts(bank, { gateUp, down }, x, single()).read();
    for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 12);
  }
});

it("draws the same bits from the same key, and f64 the same numbers as f32", async () => {
  const bank = glu({ ...sizes, activation: "silu" });
  const draw = async (seed: number, dtype: "f32" | "f64"): Promise<number[]> => {
    const { params } = bank.init(randomKey(seed), { backend, dtype });
    return [...(await params.gateUp.read()), ...(await params.down.read())];
  };
  expect(await draw(1, "f32")).toEqual(await draw(1, "f64"));
  expect(await draw(1, "f32")).not.toEqual(await draw(2, "f32"));
});

it.each([
  ["experts", { experts: 0 }],
  ["hiddenSize", { hiddenSize: 1.5 }],
  ["intermediateSize", { intermediateSize: -1 }],
  ["outputSize", { outputSize: 0 }],
  ["activation", { activation: "tanh" as Activation }],
  ["initializerRange", { initializerRange: Number.NaN }],
])("refuses a bad %s", (key, change) => {
  const make = () => glu({ ...sizes, activation: "silu", ...change });
  expect(make).toThrow(ConfigError);
  expect(make).toThrow(expect.objectContaining({ key }) as Error);
});

function nonZeroBiases(bank: FfnBank<FfnParams>): Partial<FfnParams> {
  const biases = Object.entries(bank.shapes).filter(([name]) => name.endsWith("Bias"));
  return Object.fromEntries(
    biases.map(([name, shape], index) => [name, random(20 + index, shape ?? [])]),
  );
}

/** One token, one expert, weight 1. */
function single(): TokenChoice {
  const indices = backend.tensor(Int32Array.of(0), { shape: [1, 1] });
  const one = backend.tensor(Float64Array.of(1), { shape: [1, 1] });
  return {
    kind: "token-choice",
    experts: 1,
    logits: one,
    scores: one,
    indices,
    selected: indices,
    outputWeights: one,
  };
}

function replaced<T extends { params: FfnParams }>(tree: T, path: string, leaf: Tensor): T {
  const [first = "", second] = path.split(".");
  if (second === undefined) return { ...tree, [first]: leaf };
  return { ...tree, params: { ...tree.params, [second]: leaf } };
}

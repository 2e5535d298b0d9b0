import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend } from "../contract.ts";
import { UnsupportedError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import { mul, sum } from "../ops/index.ts";
import { hostNormal, randomKey } from "../random.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { ExpertBank, SharedBranch } from "./bank.ts";
import { bankRows } from "./ffn.ts";
import { mergeShared, mixExperts } from "./mix.ts";
import { gather } from "./plan.ts";
import type { ExpertChoice, Routing, Soft, TokenChoice } from "./routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const H = 3;
const O = 2;
const E = 2;

interface Weights {
  readonly up: Tensor;
  readonly down: Tensor;
}

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const i32 = (data: readonly number[], shape: readonly number[]): Tensor =>
  backend.tensor(Int32Array.from(data), { shape });
const numbers = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];

/** Linear experts: whatever rows hold, expert e multiplies by `down[e] · up[e]`. */
const bank: ExpertBank<Weights> = {
  experts: E,
  inputSize: H,
  outputSize: O,
  init: () => ({ params: { up: random(1, [E, H, H]), down: random(2, [E, O, H]) }, state: {} }),
  forward(params, rows) {
    const { offsets, group } = rows;
    const plain = rows.weights ? { source: gather(rows), offsets, group } : rows;
    return bankRows(plain, params, { activation: "identity" });
  },
};

/** The product of an expert's two matrices, `[O][H]`. */
async function matrices({ up, down }: Weights): Promise<number[][][]> {
  const [u, d] = [await numbers(up), await numbers(down)];
  return Array.from({ length: E }, (_, e) =>
    Array.from({ length: O }, (_unused, o) =>
      Array.from({ length: H }, (_h, h) => {
        let total = 0;
        for (let i = 0; i < H; i++) {
          total += (d[(e * O + o) * H + i] ?? 0) * (u[(e * H + i) * H + h] ?? 0);
        }
        return total;
      }),
    ),
  );
}

const apply = (matrix: number[][] | undefined, row: readonly number[]): number[] =>
  (matrix ?? []).map((weights) => weights.reduce((t, weight, h) => t + weight * (row[h] ?? 0), 0));

async function rowsOf(tensor: Tensor): Promise<number[][]> {
  const [rows = 0, width = 0] = tensor.shape;
  const data = await numbers(tensor);
  return Array.from({ length: rows }, (_, row) => data.slice(row * width, (row + 1) * width));
}

async function expectClose(
  actual: Tensor,
  expected: readonly (readonly number[])[],
): Promise<void> {
  const rows = await rowsOf(actual);
  expect(rows).toHaveLength(expected.length);
  for (const [token, row] of expected.entries()) {
    for (const [column, value] of row.entries())
      expect(rows[token]?.[column]).toBeCloseTo(value, 12);
  }
}

/** Each gradient against differences, for one element of each leaf. */
async function expectGradient(routing: Routing, x: Tensor): Promise<void> {
  const { params } = bank.init(randomKey(0), { backend });
  const upstream = random(5, [x.shape[0] ?? 0, O]);
  const tree = { up: params.up, down: params.down, x };
  const loss = ({ x: input, ...weights }: typeof tree): Tensor =>
    sum(mul(mixExperts(bank, weights, input, routing), upstream));
  const { grads } = valueAndGrad(loss)(tree);
  for (const key of ["up", "down", "x"] as const) {
    const gradient = await numbers(grads[key] as Tensor);
    const index = gradient.findIndex((value) => Math.abs(value) > 1e-3);
    const values = Float64Array.from(await numbers(tree[key]));
    const shifted = (by: number): Promise<number> => {
      const data = values.with(index, (values[index] ?? 0) + by);
      return loss({ ...tree, [key]: backend.tensor(data, { shape: tree[key].shape }) }).item();
    };
    const numeric = ((await shifted(1e-4)) - (await shifted(-1e-4))) / 2e-4;
    expect(numeric / (gradient[index] ?? Number.NaN), key).toBeCloseTo(1, 6);
  }
}

describe("mixExperts", () => {
  it("adds the chosen experts of each token, inputs and outputs weighted", async () => {
    const chosen = [0, 1, E, 1, 1, 0];
    const logits = random(3, [3, E]);
    const indices = i32(chosen, [3, 2]);
    const [outputWeights, inputWeights] = [random(6, [3, 2]), random(7, [3, 2])];
    const routing: TokenChoice = {
      kind: "token-choice",
      experts: E,
      logits,
      scores: logits,
      indices,
      selected: indices,
      outputWeights,
      inputWeights,
    };
    const x = random(4, [3, H]);
    const { params } = bank.init(randomKey(0), { backend });
    const [experts, rows, out, into] = [
      await matrices(params),
      await rowsOf(x),
      await numbers(outputWeights),
      await numbers(inputWeights),
    ];
    const expected = rows.map((row, token) => {
      const y = new Array<number>(O).fill(0);
      for (const choice of [0, 1]) {
        const at = token * 2 + choice;
        const scaled = row.map((value) => value * (into[at] ?? 0));
        const part = apply(experts[chosen[at] ?? E], scaled);
        for (const [o, value] of part.entries()) y[o] = (y[o] ?? 0) + value * (out[at] ?? 0);
      }
      return y;
    });
    await expectClose(mixExperts(bank, params, x, routing), expected);
    await expectGradient(routing, x);
  });

  it("runs experts on the tokens that they chose, in every group", async () => {
    // Two groups of three tokens; token 4 is chosen by nobody, one place is empty.
    const tokens = [0, 2, 2, 1, 3, 5, 6, 5];
    const logits = random(3, [6, E]);
    const weights = random(6, [2, E, 2]);
    const routing: ExpertChoice = {
      kind: "expert-choice",
      experts: E,
      logits,
      scores: logits,
      tokens: i32(tokens, [2, E, 2]),
      weights,
    };
    const x = random(4, [6, H]);
    const { params } = bank.init(randomKey(0), { backend });
    const [experts, rows, factors] = [
      await matrices(params),
      await rowsOf(x),
      await numbers(weights),
    ];
    const expected = rows.map(() => new Array<number>(O).fill(0));
    for (const [place, token] of tokens.entries()) {
      const e = Math.floor(place / 2) % E;
      const target = expected[token];
      if (!target) continue;
      for (const [o, value] of apply(experts[e], rows[token] ?? []).entries()) {
        target[o] = (target[o] ?? 0) + value * (factors[place] ?? 0);
      }
    }
    expect(expected[4]).toEqual([0, 0]);
    await expectClose(mixExperts(bank, params, x, routing), expected);
    await expectGradient(routing, x);
  });

  it("runs experts on mixtures of tokens, and gives tokens mixtures of slots", async () => {
    const slots = 2;
    const places = E * slots;
    const logits = random(3, [6, places]);
    const [taking, giving] = [random(6, [2, 3, places]), random(7, [2, 3, places])];
    const source = random(8, [6, H]);
    const routing: Soft = {
      kind: "soft",
      experts: E,
      slots,
      logits,
      scores: logits,
      dispatch: taking,
      combine: giving,
    };
    const x = random(4, [6, H]);
    const { params } = bank.init(randomKey(0), { backend });
    const [experts, d, c] = [await matrices(params), await numbers(taking), await numbers(giving)];
    const mixed = async (from: Tensor): Promise<number[][]> => {
      const rows = await rowsOf(from);
      const expected = rows.map(() => new Array<number>(O).fill(0));
      for (let group = 0; group < 2; group++) {
        for (let slot = 0; slot < places; slot++) {
          const input = new Array<number>(H).fill(0);
          for (let token = 0; token < 3; token++) {
            const factor = d[(group * 3 + token) * places + slot] ?? 0;
            for (let h = 0; h < H; h++) {
              input[h] = (input[h] ?? 0) + factor * (rows[group * 3 + token]?.[h] ?? 0);
            }
          }
          const output = apply(experts[Math.floor(slot / slots)], input);
          for (let token = 0; token < 3; token++) {
            const factor = c[(group * 3 + token) * places + slot] ?? 0;
            const target = expected[group * 3 + token] ?? [];
            for (const [o, value] of output.entries())
              target[o] = (target[o] ?? 0) + value * factor;
          }
        }
      }
      return expected;
    };
    await expectClose(mixExperts(bank, params, x, routing), await mixed(x));
    await expectClose(mixExperts(bank, params, x, { ...routing, source }), await mixed(source));
    await expectGradient(routing, x);
  });
});

it("mergeShared refuses a merge that needs a gate where the branch has none", () => {
  const branch: SharedBranch<undefined> = {
    merge: "gate",
    init: () => ({ params: undefined, state: {} }),
    forward: (_, x) => x,
  };
  const x = random(1, [2, H]);
  expect(() => mergeShared(branch, undefined, x, x)).toThrow(UnsupportedError);
});

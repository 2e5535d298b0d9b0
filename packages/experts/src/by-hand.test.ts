import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, type Tensor, mixExperts, randomKey } from "@moiety/core";
import { latentExperts } from "./latent.ts";
import { linearExperts } from "./linear.ts";
import { withOutputBias } from "./output-bias.ts";
import { scaledExperts, timesFactor } from "./scaled.ts";
import { withSpecialExperts } from "./special.ts";
import { times } from "./testing/reference.ts";
import {
  distance,
  drawRouting,
  matrixOf,
  mixNaively,
  random,
  routingOf,
  rowsOf,
} from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const WIDTH = 3;

describe("wrappers by hand", () => {
  const hand = drawRouting(3, 8, 2, 4, true);
  const inner = linearExperts({ experts: 4, hiddenSize: WIDTH, initializerRange: 1 });

  async function parts(width = WIDTH) {
    const x = random(backend, 2, [8, width]);
    const { params } = inner.init(randomKey(1), { backend, dtype: "f64" });
    const matrices = await Promise.all([0, 1, 2, 3].map((id) => matrixOf(params.weight, id)));
    const linear = (id: number, input: readonly number[]) => times(matrices[id] ?? [], input);
    return { x, rows: await rowsOf(x), params, linear };
  }

  it("scales the output of each expert, or of all", async () => {
    const { x, rows, params, linear } = await parts();
    for (const [per, factors] of [
      ["expert", [0.5, -2, 3, 0.25]],
      ["layer", [-1.5]],
    ] as const) {
      const scale = backend.tensor(Float64Array.from(factors));
      const bank = scaledExperts(inner, { per });
      const found = mixExperts(bank, { bank: params, scale }, x, routingOf(backend, hand));
      const expected = mixNaively(hand, rows, WIDTH, (id, input) =>
        linear(id, input).map((value) => value * (factors[per === "expert" ? id : 0] ?? 0)),
      );
      expect(distance(await rowsOf(found), expected)).toBeLessThan(1e-13);
    }
  });

  it("starts with a scale of one and a bias of zero", async () => {
    const { x, params } = await parts();
    const routing = routingOf(backend, hand);
    const wanted = await rowsOf(mixExperts(inner, params, x, routing));
    const scaled = scaledExperts(inner);
    const biased = withOutputBias(inner);
    const options = { backend, dtype: "f64" } as const;
    const { scale } = scaled.init(randomKey(9), options).params;
    const { bias } = biased.init(randomKey(9), options).params;
    expect(await rowsOf(mixExperts(scaled, { bank: params, scale }, x, routing))).toEqual(wanted);
    expect(await rowsOf(mixExperts(biased, { bank: params, bias }, x, routing))).toEqual(wanted);
  });

  it("adds one bias to every token, also to one without a place", async () => {
    const { x, rows, params, linear } = await parts();
    const lost = { ...hand, choices: hand.choices.with(5, [4, 4]) };
    const bias = backend.tensor(Float64Array.of(1, -2, 0.5));
    const found = await rowsOf(
      mixExperts(withOutputBias(inner), { bank: params, bias }, x, routingOf(backend, lost)),
    );
    const expected = mixNaively(lost, rows, WIDTH, linear).map((row) =>
      row.map((value, at) => value + ([1, -2, 0.5][at] ?? 0)),
    );
    expect(distance(found, expected)).toBeLessThan(1e-13);
    expect(found[5]).toEqual([1, -2, 0.5]);
  });

  it("multiplies outputs by a fixed factor", async () => {
    const { x, rows, params, linear } = await parts();
    const found = mixExperts(timesFactor(inner, 0.8), params, x, routingOf(backend, hand));
    const expected = mixNaively(hand, rows, WIDTH, linear).map((row) =>
      row.map((value) => value * 0.8),
    );
    expect(distance(await rowsOf(found), expected)).toBeLessThan(1e-13);
  });

  it("projects down before latent experts and up after combining", async () => {
    const { x, rows, params, linear } = await parts(5);
    const bank = latentExperts(inner, { hiddenSize: 5, outputSize: 2, bias: true });
    const drawn = {
      bank: params,
      down: random(backend, 11, [WIDTH, 5]),
      up: random(backend, 12, [2, WIDTH]),
      downBias: random(backend, 13, [WIDTH]),
      upBias: random(backend, 14, [2]),
    };
    const numbers = async (tensor: Tensor): Promise<number[]> => [...(await tensor.read())];
    const [down, up, downBias, upBias] = await Promise.all(
      [drawn.down, drawn.up, drawn.downBias, drawn.upBias].map(numbers),
    );
    const latent = rows.map((row) =>
      times(down ?? [], row).map((value, at) => value + (downBias?.[at] ?? 0)),
    );
    const expected = mixNaively(hand, latent, WIDTH, linear).map((row) =>
      times(up ?? [], row).map((value, at) => value + (upBias?.[at] ?? 0)),
    );
    const found = await rowsOf(mixExperts(bank, drawn, x, routingOf(backend, hand)));
    expect(distance(found, expected)).toBeLessThan(1e-12);
    expect(() =>
      mixExperts(bank, drawn, random(backend, 1, [8, 4]), routingOf(backend, hand)),
    ).toThrow(/last dimension must be 5/u);
  });
});

it.each<[string, () => unknown]>([
  [
    "per",
    () => scaledExperts(linearExperts({ experts: 1, hiddenSize: 1 }), { per: "token" as "layer" }),
  ],
  ["factor", () => timesFactor(linearExperts({ experts: 1, hiddenSize: 1 }), Number.NaN)],
  ["experts", () => linearExperts({ experts: 0, hiddenSize: 1 })],
  ["outputSize", () => linearExperts({ experts: 1, hiddenSize: 1, outputSize: -1 })],
  ["initializerRange", () => linearExperts({ experts: 1, hiddenSize: 1, initializerRange: -1 })],
  [
    "hiddenSize",
    () => latentExperts(linearExperts({ experts: 1, hiddenSize: 1 }), { hiddenSize: 0.5 }),
  ],
  [
    "initializerRange",
    () =>
      withSpecialExperts(
        linearExperts({ experts: 1, hiddenSize: 1 }),
        [{ kind: "constant", count: 1 }],
        { initializerRange: Number.NaN },
      ),
  ],
])("refuses a bad %s", (key, make) => {
  expect(make).toThrow(expect.objectContaining({ code: "CONFIG", key }) as Error);
});

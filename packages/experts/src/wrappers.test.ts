import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  combine,
  dispatch,
  leavesOf,
  mapTree,
  mixExperts,
  mul,
  plan,
  randomKey,
  sum,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { glu } from "./glu.ts";
import { latentExperts } from "./latent.ts";
import { linearExperts } from "./linear.ts";
import { lora } from "./lora.ts";
import { mixedExperts } from "./mixed.ts";
import { mlp } from "./mlp.ts";
import { withMultBias } from "./mult-bias.ts";
import { withOutputBias } from "./output-bias.ts";
import { scaledExperts, timesFactor } from "./scaled.ts";
import { withSpecialExperts } from "./special.ts";
import { derivatives, wrong } from "./testing/gradients.ts";
import { distance, drawRouting, random, routingOf, rowsOf } from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const WIDTH = 3;
const TOKENS = 7;
const ffn = { hiddenSize: WIDTH, intermediateSize: 4, activation: "silu", bias: true } as const;

/** Every bank, whatever its parameters. */
type AnyBank = ShapedBank<unknown>;
const any = <Params>(bank: ShapedBank<Params>): AnyBank => bank as AnyBank;

interface Entry {
  readonly name: string;
  readonly bank: AnyBank;
  /** Whether rows one by one give the same as the bank's own way. */
  readonly byRows: boolean;
  /** Whether a leaf is frozen. */
  frozen?(path: string): boolean;
}

const entries: readonly Entry[] = [
  {
    name: "linear",
    bank: any(linearExperts({ experts: 4, hiddenSize: WIDTH, bias: true })),
    byRows: true,
  },
  {
    name: "linear, transposed",
    bank: any(linearExperts({ experts: 4, hiddenSize: WIDTH, outputSize: 2, transposed: true })),
    byRows: true,
  },
  {
    name: "mult_bias, transposed",
    bank: any(withMultBias(mlp({ ...ffn, experts: 4, transposed: true }))),
    byRows: true,
  },
  { name: "mult_bias", bank: any(withMultBias(glu({ ...ffn, experts: 4 }))), byRows: true },
  {
    name: "identity, constant and zero",
    bank: any(
      withSpecialExperts(glu({ ...ffn, experts: 2 }), [
        { kind: "identity", count: 1 },
        { kind: "constant", count: 2 },
        { kind: "zero", count: 1 },
      ]),
    ),
    byRows: true,
  },
  {
    name: "identity alone",
    bank: any(withSpecialExperts(glu({ ...ffn, experts: 2 }), [{ kind: "identity", count: 3 }])),
    byRows: true,
  },
  {
    name: "constant before identity, behind linear experts",
    bank: any(
      withSpecialExperts(linearExperts({ experts: 2, hiddenSize: WIDTH }), [
        { kind: "constant", count: 1 },
        { kind: "identity", count: 1 },
      ]),
    ),
    byRows: true,
  },
  {
    name: "latent",
    bank: any(latentExperts(glu({ ...ffn, experts: 4 }), { hiddenSize: 5 })),
    byRows: true,
  },
  {
    name: "latent with bias",
    bank: any(
      latentExperts(mlp({ ...ffn, experts: 4, outputSize: 2 }), {
        hiddenSize: 5,
        outputSize: 6,
        bias: true,
      }),
    ),
    byRows: false,
  },
  { name: "scaled", bank: any(scaledExperts(glu({ ...ffn, experts: 4 }))), byRows: true },
  {
    name: "scaled as a layer",
    bank: any(scaledExperts(glu({ ...ffn, experts: 4 }), { per: "layer" })),
    byRows: true,
  },
  {
    name: "times a factor",
    bank: any(timesFactor(mlp({ ...ffn, experts: 4 }), 0.8)),
    byRows: true,
  },
  {
    name: "one output bias",
    bank: any(withOutputBias(glu({ ...ffn, experts: 4 }))),
    byRows: false,
  },
  {
    name: "mixed",
    bank: any(
      mixedExperts([
        glu({ ...ffn, experts: 2 }),
        mlp({ ...ffn, experts: 1, intermediateSize: 2 }),
        withSpecialExperts(linearExperts({ experts: 1, hiddenSize: WIDTH, bias: true }), [
          { kind: "identity", count: 1 },
        ]),
      ]),
    ),
    byRows: true,
  },
  {
    name: "lora",
    bank: any(lora(glu({ ...ffn, experts: 4 }), { rank: 2, alpha: 3 })),
    byRows: true,
    frozen: (path) => path.startsWith("base."),
  },
  {
    name: "lora on down, transposed",
    bank: any(lora(mlp({ ...ffn, experts: 4, transposed: true }), { rank: 1, targets: ["down"] })),
    byRows: true,
    frozen: (path) => path.startsWith("base."),
  },
  {
    name: "scaled, special, latent and biased at once",
    bank: any(
      withOutputBias(
        latentExperts(
          scaledExperts(
            withSpecialExperts(glu({ ...ffn, experts: 2 }), [{ kind: "constant", count: 2 }]),
          ),
          { hiddenSize: 4 },
        ),
      ),
    ),
    byRows: false,
  },
];

/** Parameters all of which matter: no biases of zero, no factors of one. */
function drawn(bank: AnyBank): unknown {
  const { params } = bank.init(randomKey(1), { backend, dtype: "f64" });
  let seed = 40;
  return mapTree(params, (leaf) => mul(random(backend, seed++, (leaf as Tensor).shape), 0.8));
}

/** Rows one by one, in place of the bank's own way. */
function mixByRows(bank: AnyBank, params: unknown, x: Tensor, routing: TokenChoice): Tensor {
  const sorted = plan(routing);
  const rows = dispatch(x, sorted, routing.inputWeights);
  return combine(bank.forward(params, rows), sorted, routing.outputWeights);
}

const handOf = (bank: AnyBank, weighInput = false) =>
  drawRouting(30, TOKENS, 2, bank.experts, weighInput);

describe.each(entries)("$name", ({ bank, byRows, frozen }) => {
  it("states the shape of every parameter", () => {
    const { params, state } = bank.init(randomKey(1), { backend });
    const shapes = mapTree(params, (leaf) => (leaf as Tensor).shape);
    expect(shapes).toEqual(bank.shapes);
    expect(state).toEqual({});
  });

  it("draws the same bits from the same key, in f64 as in f32", async () => {
    const draw = async (seed: number, dtype: "f32" | "f64"): Promise<number[]> => {
      const { params } = bank.init(randomKey(seed), { backend, dtype });
      const leaves = leavesOf(params).map(async ({ leaf }) => [...(await (leaf as Tensor).read())]);
      return (await Promise.all(leaves)).flat();
    };
    expect(await draw(1, "f32")).toEqual(await draw(1, "f64"));
    expect(await draw(1, "f32")).not.toEqual(await draw(2, "f32"));
  });

  it.each([false, true])("is the same by rows (input weights: %s)", async (weighInput) => {
    const params = drawn(bank);
    const x = random(backend, 3, [TOKENS, bank.inputSize]);
    const routing = routingOf(backend, handOf(bank, weighInput));
    const output = mixExperts(bank, params, x, routing);
    expect(output.shape).toEqual([TOKENS, bank.outputSize]);
    if (!byRows) {
      expect(() => mixByRows(bank, params, x, routing)).toThrow(UnsupportedError);
      return;
    }
    const rows = await rowsOf(mixByRows(bank, params, x, routing));
    expect(distance(await rowsOf(output), rows)).toBeLessThan(1e-13);
    expect(rows.flat().some((value) => Math.abs(value) > 0.1)).toBe(true);
  });

  it.each([false, true])(
    "has the gradient of central differences (input weights: %s)",
    async (weighInput) => {
      const routing = routingOf(backend, handOf(bank, weighInput));
      const upstream = random(backend, 4, [TOKENS, bank.outputSize]);
      const { inputWeights } = routing;
      const tree = {
        params: drawn(bank),
        x: random(backend, 3, [TOKENS, bank.inputSize]),
        outputWeights: routing.outputWeights,
        ...(inputWeights && { inputWeights }),
      };
      const ways = byRows ? [mixExperts<unknown>, mixByRows] : [mixExperts<unknown>];
      for (const way of ways) {
        const found = await derivatives(backend, tree, ({ params, x, ...weights }) =>
          sum(mul(way(bank, params, x, { ...routing, ...weights }), upstream)),
        );
        const isFrozen = (path: string): boolean =>
          frozen?.(path.replace(/^params\./u, "")) ?? false;
        for (const { path, analytic } of found) {
          if (isFrozen(path)) expect(analytic, path).toBeNull();
        }
        expect(wrong(found.filter(({ path }) => !isFrozen(path)))).toEqual([]);
      }
    },
  );

  it("keeps a NaN with its token", async () => {
    const params = drawn(bank);
    const x = random(backend, 3, [TOKENS, bank.inputSize]);
    const routing = routingOf(backend, handOf(bank, true));
    const clean = await rowsOf(mixExperts(bank, params, x, routing));
    const spoil = async (tensor: Tensor): Promise<Tensor> => {
      const values = (await tensor.read()) as Float64Array;
      const width = tensor.size / TOKENS;
      return backend.tensor(values.fill(Number.NaN, 2 * width, 3 * width), { shape: tensor.shape });
    };
    const { outputWeights, inputWeights = outputWeights } = routing;
    const spoilt: [Tensor, TokenChoice][] = [
      [await spoil(x), routing],
      [x, { ...routing, outputWeights: await spoil(outputWeights) }],
      [x, { ...routing, inputWeights: await spoil(inputWeights) }],
    ];
    for (const [input, one] of spoilt) {
      const found = await rowsOf(mixExperts(bank, params, input, one));
      expect(found[2]?.some(Number.isNaN)).toBe(true);
      expect(found.toSpliced(2, 1)).toEqual(clean.toSpliced(2, 1));
    }
  });
});

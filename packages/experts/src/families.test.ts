import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Activation, type Backend, type Tensor, mixExperts, mul } from "@moiety/core";
import type { FfnBank } from "./bank.ts";
import { glu } from "./glu.ts";
import { mlp } from "./mlp.ts";
import { withMultBias } from "./mult-bias.ts";
import type { FfnOptions, GateOptions } from "./options.ts";
import type { FfnParams } from "./params.ts";
import { activations, times } from "./testing/reference.ts";
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

const [EXPERTS, HIDDEN, INNER, TOKENS] = [3, 4, 5, 6];
const { silu, gelu, geluTanh, relu, reluSquared } = activations;
const most = (x: number, limit: number): number => Math.min(x, limit);
const within = (x: number, limit: number): number => Math.max(Math.min(x, limit), -limit);

/** What stands between the projections, once more by hand. `factor` is the unit's `multBias`. */
type Middle = (up: number, gate: number, factor: number) => number;
interface Options extends Omit<FfnOptions & GateOptions, "hiddenSize" | "intermediateSize"> {
  readonly multBias?: boolean;
}

const gptOss: Middle = (up, gate) => {
  const [g, u] = [most(gate, 0.8), within(up, 0.8)];
  return (u + 1) * g * (1 / (1 + Math.exp(-1.702 * g)));
};
const gptOssOptions = {
  activation: "silu",
  clamp: { limit: 0.8 },
  alpha: 1.702,
  upOffset: 1,
} as const;
const upFirst = { packing: "concatenated", first: "up" } as const;
const interleaved = { packing: "interleaved", first: "gate" } as const;

/** Each family's expert: its options, whether it is gated, and its maths. */
const families: readonly [name: string, gated: boolean, Options, Middle][] = [
  ["switch_transformers", false, { activation: "relu" }, (up) => relu(up)],
  ["nllb_moe", false, { activation: "relu", bias: true }, (up) => relu(up)],
  ["nemotron_h", false, { activation: "reluSquared" }, (up) => reluSquared(up)],
  ["vmoe", false, { activation: "geluTanh", bias: true, transposed: true }, (up) => geluTanh(up)],
  ["mixtral, qwen, deepseek", true, { activation: "silu" }, (up, gate) => silu(gate) * up],
  [
    "llama4, aria, qwen3_vl",
    true,
    { activation: "silu", transposed: true },
    (up, gate) => silu(gate) * up,
  ],
  ["grok-1", true, { activation: "gelu" }, (up, gate) => gelu(gate) * up],
  ["gemma4", true, { activation: "geluTanh" }, (up, gate) => geluTanh(gate) * up],
  ["reglu", true, { activation: "relu" }, (up, gate) => relu(gate) * up],
  [
    "soft_moe (x, gate)",
    true,
    { activation: "gelu", bias: true, layout: upFirst },
    (up, gate) => up * gelu(gate),
  ],
  [
    "st_moe (x, gate, mult_bias)",
    true,
    { activation: "gelu", bias: true, layout: upFirst, multBias: true },
    (up, gate, factor) => up * gelu(gate) * factor,
  ],
  [
    "mult_bias, transposed",
    true,
    { activation: "silu", multBias: true, transposed: true },
    (up, gate, factor) => silu(gate) * up * factor,
  ],
  [
    "gpt_oss",
    true,
    { ...gptOssOptions, bias: true, transposed: true, layout: interleaved },
    gptOss,
  ],
  ["minimax_m3_vl", true, gptOssOptions, gptOss],
  [
    "deepseek_v4, hy_v4, glm5_next",
    true,
    { activation: "silu", clamp: { limit: 0.8 } },
    (up, gate) => silu(most(gate, 0.8)) * within(up, 0.8),
  ],
  [
    "step3p7",
    true,
    { activation: "silu", clamp: { limit: 0.8, when: "after" } },
    (up, gate) => most(silu(gate), 0.8) * within(up, 0.8),
  ],
];

describe.each(families)("an expert of %s", (_, gated, options, middle) => {
  const sizes = { experts: EXPERTS, hiddenSize: HIDDEN, intermediateSize: INNER };
  const { multBias = false, ...rest } = options;
  const all = { ...sizes, ...rest };
  const bank: FfnBank<FfnParams> = gated ? glu(all) : mlp(all);

  it("is the maths written out", async () => {
    const params = Object.fromEntries(
      Object.entries(bank.shapes).map(([name, shape], index) => [
        name,
        mul(random(backend, 10 + index, shape ?? []), 0.6),
      ]),
    ) as unknown as FfnParams & Record<string, Tensor | undefined>;
    const factors = multBias ? random(backend, 9, [EXPERTS, INNER]) : undefined;
    const x = random(backend, 1, [TOKENS, HIDDEN]);
    const hand = drawRouting(2, TOKENS, 2, EXPERTS);
    const up = params["gateUp"] ?? params["up"];
    const list = async (tensor: Tensor | undefined, expert: number): Promise<number[]> =>
      tensor ? matrixOf(tensor, expert) : [];
    const weights = await Promise.all(
      Array.from({ length: EXPERTS }, async (_value, expert) => ({
        up: await list(up, expert),
        upBias: await list(params["gateUpBias"] ?? params["upBias"], expert),
        down: await list(params.down, expert),
        downBias: await list(params.downBias, expert),
        factors: await list(factors, expert),
      })),
    );
    const halves: [number, number][] = [];
    const project = (matrix: number[], width: number, input: readonly number[], bias: number[]) =>
      (options.transposed ? times(turned(matrix, width), input) : times(matrix, input)).map(
        (value, at) => value + (bias[at] ?? 0),
      );
    const expected = mixNaively(hand, await rowsOf(x), HIDDEN, (id, input) => {
      const one = weights[id];
      if (!one) throw new Error(`no expert ${id}`);
      const hidden = project(one.up, gated ? 2 * INNER : INNER, input, one.upBias);
      const units = Array.from({ length: INNER }, (_value, i) => {
        const [u, g] = gated ? split(hidden, i, options) : [hidden[i] ?? 0, 0];
        halves.push([u, g]);
        return middle(u, g, one.factors[i] ?? 1);
      });
      return project(one.down, HIDDEN, units, one.downBias);
    });
    const routing = routingOf(backend, hand);
    const output = factors
      ? mixExperts(withMultBias(bank), { bank: params, multBias: factors }, x, routing)
      : mixExperts(bank, params, x, routing);
    const found = await rowsOf(output);
    expect(distance(found, expected)).toBeLessThan(1e-12);
    if (options.clamp) {
      // The limits bind on every side, or the case shows nothing.
      expect(halves.some(([u]) => u > 0.8)).toBe(true);
      expect(halves.some(([u]) => u < -0.8)).toBe(true);
      expect(halves.some(([, g]) => silu(g) > 0.8)).toBe(true);
    }
  });
});

it("knows every activation", () => {
  const used = new Set(families.map(([, , { activation }]) => activation));
  const rest = (Object.keys(activations) as Activation[]).filter((name) => !used.has(name));
  expect(rest).toEqual(["identity"]);
});

/** `[in, out]` as `[out, in]`. */
function turned(matrix: readonly number[], width: number): number[] {
  const inner = matrix.length / width;
  return Array.from({ length: matrix.length }, (_, at) => {
    const [out, column] = [Math.floor(at / inner), at % inner];
    return matrix[column * width + out] ?? 0;
  });
}

/** The two halves of a hidden unit, `[up, gate]`. */
function split(hidden: readonly number[], unit: number, { layout }: Options): [number, number] {
  const [first, second] =
    layout?.packing === "interleaved"
      ? [hidden[2 * unit] ?? 0, hidden[2 * unit + 1] ?? 0]
      : [hidden[unit] ?? 0, hidden[INNER + unit] ?? 0];
  return layout?.first === "up" ? [first, second] : [second, first];
}

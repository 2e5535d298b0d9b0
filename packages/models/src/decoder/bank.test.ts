import create from "@moiety/backend-cpu";
import { type Backend, ConfigError, type Tensor, apply, leavesOf, randomKey } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shapesByPath } from "../tree.ts";
import type { MoeConfig } from "./config.ts";
import { type MoePart, moePart } from "./moe-layer.ts";
import type { DecoderMoeParams } from "./params.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await create();
});
afterAll(() => backend.dispose());

const WIDTH = 6;
const ffn = { intermediateSize: 4, activation: "silu", gated: true } as const;
const plain: MoeConfig = {
  router: { spec: { experts: 4, topK: 2, score: "softmax" } },
  expert: ffn,
};

const x = (): Tensor =>
  backend.tensor(
    Float64Array.from({ length: 5 * WIDTH }, (_, at) => Math.sin(at * 1.3)),
    { shape: [5, WIDTH] },
  );

async function outputOf(part: MoePart, params?: DecoderMoeParams): Promise<number[]> {
  const made = part.layer.init(randomKey(3), { backend, dtype: "f64" });
  const { output } = apply(part.layer, params ?? made.params, made.state, x());
  return [...((await output.read()) as Float64Array)];
}

const paramsOf = (part: MoePart): DecoderMoeParams =>
  part.layer.init(randomKey(3), { backend, dtype: "f64" }).params;

describe.each<[string, Partial<MoeConfig>, networks: number, leaves: readonly string[]]>([
  ["nothing", {}, 4, ["gateUp", "down"]],
  ["a factor", { around: [{ kind: "factor", factor: 0.5 }] }, 4, ["gateUp", "down"]],
  ["what BASE adds", { around: [{ kind: "base" }] }, 4, ["gateUp", "down"]],
  ["an output bias", { around: [{ kind: "outputBias" }] }, 4, ["bank.gateUp", "bank.down", "bias"]],
  ["scales", { around: [{ kind: "scaled" }] }, 4, ["bank.gateUp", "bank.down", "scale"]],
  [
    "special experts",
    {
      around: [
        {
          kind: "special",
          experts: [
            { kind: "identity", count: 1 },
            { kind: "constant", count: 1 },
          ],
        },
      ],
    },
    2,
    ["bank.gateUp", "bank.down", "gate", "constant"],
  ],
  [
    "a latent space",
    { around: [{ kind: "latent", latentSize: 3, bias: true }] },
    4,
    ["bank.gateUp", "bank.down", "down", "up", "downBias", "upBias"],
  ],
  [
    "a latent space that is not there",
    { around: [{ kind: "latent", latentSize: undefined }] },
    4,
    ["bank.gateUp", "bank.down"],
  ],
  [
    "experts of another size, and a scale around both",
    { others: [{ ...ffn, intermediateSize: 9, experts: 1 }], around: [{ kind: "scaled" }] },
    3,
    ["bank.0.gateUp", "bank.0.down", "bank.1.gateUp", "bank.1.down", "scale"],
  ],
])("a layer with %s", (_, change, networks, leaves) => {
  it("states its leaves and counts its networks", async () => {
    const part = moePart({ ...plain, ...change }, WIDTH, 0.3);
    expect(part.networks).toBe(networks);
    const found = leavesOf(paramsOf(part)).map(({ path, leaf }) => [path, (leaf as Tensor).shape]);
    const { router, experts } = part.shapes;
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries(shapesByPath({ router, experts })),
    );
    expect(found.map(([path]) => path)).toEqual([
      "router.weight",
      ...leaves.map((leaf) => `experts.${leaf}`),
    ]);
    const output = await outputOf(part);
    expect(output).toHaveLength(5 * WIDTH);
    expect(output.every(Number.isFinite)).toBe(true);
  });
});

describe("what stands around the experts", () => {
  const build = (around: MoeConfig["around"]): MoePart => moePart({ ...plain, around }, WIDTH, 0.3);
  const inside = (): DecoderMoeParams => paramsOf(moePart(plain, WIDTH, 0.3));

  it("is applied from the inside out", async () => {
    const bare = await outputOf(moePart(plain, WIDTH, 0.3), inside());
    const params = inside();
    const bias = backend.tensor(Float64Array.of(1, 2, 3, 4, 5, 6));
    const wrapped = { ...params, experts: { bank: params.experts, bias } };
    const doubled = { kind: "factor", factor: 2 } as const;
    const biased = { kind: "outputBias" } as const;
    const around = await outputOf(build([biased, doubled]), wrapped);
    const within = await outputOf(build([doubled, biased]), wrapped);
    for (const [at, value] of bare.entries()) {
      const own = (at % WIDTH) + 1;
      expect(around[at]).toBeCloseTo(2 * (value + own), 12);
      expect(within[at]).toBeCloseTo(2 * value + own, 12);
    }
  });

  it("leaves an absent latent space out", async () => {
    const params = inside();
    const nested = { ...params, experts: { bank: params.experts } };
    const output = await outputOf(build([{ kind: "latent", latentSize: undefined }]), nested);
    expect(output).toEqual(await outputOf(moePart(plain, WIDTH, 0.3), params));
  });

  it.each<[string, Partial<MoeConfig>]>([
    ["count", { around: [{ kind: "special", experts: [{ kind: "zero", count: 0 }] }] }],
    ["experts", { around: [{ kind: "special", experts: [{ kind: "zero", count: 4 }] }] }],
    ["factor", { around: [{ kind: "factor", factor: Number.NaN }] }],
    ["hiddenSize", { around: [{ kind: "latent", latentSize: 0 }] }],
    ["around.kind", { around: [{ kind: "halo" } as never] }],
  ])("is refused by %s where it makes no sense", (key, change) => {
    const make = (): unknown => moePart({ ...plain, ...change }, WIDTH, 0.3);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key }) as Error);
  });
});

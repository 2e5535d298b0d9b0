import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { ConfigError, ShapeError } from "../errors.ts";
import { valueAndGrad } from "../gradient.ts";
import {
  type ProductFormat,
  add,
  dequantize,
  gatherRows,
  groupedMatmul,
  mul,
  quantizedFormats,
  roundBlocks,
  storedFormat,
  sum,
} from "../ops/index.ts";
import { hostBits, hostNormal, randomKey } from "../random.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { moeFfn } from "./ffn.ts";
import { type FfnDescriptor, activate } from "./ffn-descriptor.ts";
import { combine, dispatch, gather, planChoices } from "./plan.ts";

/** The inputs of the op, in order. */
type FfnInputs = [
  x: Tensor,
  indices: Tensor,
  outputWeights: Tensor,
  up: Tensor,
  down: Tensor,
  upBias: Tensor | undefined,
  downBias: Tensor | undefined,
  inputWeights: Tensor | undefined,
  upScales: Tensor | undefined,
  downScales: Tensor | undefined,
];

const backend = await create();
const [T, K, E, H, I, O] = [5, 2, 3, 64, 32, 3];
/** Expert 1 has no token; `E` stands where a choice found no place. */
const CHOSEN = [0, 2, 2, 0, E, 2, 0, E, 2, 0];

const normal = (seed: number, shape: Shape): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });
const numbers = async (x: Tensor): Promise<number[]> => [...(await x.read())];

/** Inputs of a bank in a format, at random. */
function inputs(format: ProductFormat, { gate }: FfnDescriptor): FfnInputs {
  const { codesPerByte, block = 1 } = quantizedFormats[storedFormat(format)];
  const held = (seed: number, [experts, rows, width]: readonly [number, number, number]) => {
    const shape = [experts, rows, width / codesPerByte];
    const bytes = Uint8Array.from(hostBits(randomKey(seed), sizeOf(shape)));
    return [
      backend.tensor(bytes, { shape }),
      normal(seed + 1, [experts, rows, width / block]),
    ] as const;
  };
  const hidden = gate ? 2 * I : I;
  const [[up, upScales], [down, downScales]] = [held(3, [E, hidden, H]), held(5, [E, O, I])];
  return [
    normal(1, [T, H]),
    backend.tensor(CHOSEN, { shape: [T, K], dtype: "i32" }),
    normal(2, [T, K]),
    up,
    down,
    normal(7, [E, hidden]),
    normal(8, [E, O]),
    normal(9, [T, K]),
    upScales,
    downScales,
  ];
}

/** The bank by hand: rounded rows through the numbers of each matrix. */
function byHand(given: FfnInputs, format: ProductFormat, descriptor: FfnDescriptor): Tensor {
  const [x, indices, weights, up, down, upBias, downBias, inputWeights, ...scales] = given;
  const sorted = planChoices(indices, E);
  const rows = dispatch(x, sorted, inputWeights);
  const project = (
    values: Tensor,
    codes: Tensor,
    scalesOfCodes: Tensor | undefined,
    bias: Tensor | undefined,
  ): Tensor => {
    const stored = storedFormat(format);
    const shape = [...codes.shape.slice(0, -1), values.shape.at(-1) ?? 0];
    const matrix = dequantize(codes, scalesOfCodes as Tensor, {
      format: stored,
      shape,
      dtype: "f64",
    });
    const product = groupedMatmul(roundBlocks(values), matrix, rows.offsets);
    return add(product, gatherRows(bias as Tensor, rows.group));
  };
  const hidden = activate(project(gather(rows), up, scales[0], upBias), descriptor);
  return combine(project(hidden, down, scales[1], downBias), sorted, weights);
}

const run = (given: FfnInputs, format: ProductFormat, descriptor: FfnDescriptor): Tensor =>
  moeFfn(...given, { descriptor: { ...descriptor, format } });

const BANKS: readonly (readonly [string, FfnDescriptor])[] = [
  ["plain", { activation: "relu" }],
  ["gated", { activation: "silu", gate: { packing: "concatenated", first: "gate" } }],
  [
    "interleaved, clamped",
    {
      activation: "silu",
      alpha: 1.702,
      gate: { packing: "interleaved", first: "up" },
      clamp: { limit: 0.7 },
      upOffset: 1,
    },
  ],
];

describe.each(["q8_block32_a8", "q4_block32_a8"] as const)("moeFfn with %s", (format) => {
  it.each(BANKS)("rounds what both products of a bank read: %s", async (_, descriptor) => {
    const given = inputs(format, descriptor);
    const got = await numbers(run(given, format, descriptor));
    expect(got).toEqual(await numbers(byHand(given, format, descriptor)));
    const unrounded = await numbers(run(given, storedFormat(format), descriptor));
    const gaps = got.map((value, place) => Math.abs(value - (unrounded[place] ?? 0)));
    expect(Math.max(...gaps)).toBeGreaterThan(1e-4);
  });

  it("has gradients as if nothing were rounded, of what it read", async () => {
    const [, descriptor] = BANKS[1] ?? ["", { activation: "silu" }];
    const given = inputs(format, descriptor);
    const [, , ...rest] = given;
    const gradientsOf = async (body: (inputs: FfnInputs) => Tensor): Promise<number[][]> => {
      const { grads } = valueAndGrad((tree: Tensor[]) => {
        const [x, weights, inputWeights] = tree as [Tensor, Tensor, Tensor];
        const traced = given.with(0, x).with(2, weights).with(7, inputWeights);
        return sum(mul(body(traced as unknown as FfnInputs), normal(11, [T, O])));
      })([given[0], rest[0], given[7] as Tensor]);
      return Promise.all(grads.map((one) => numbers(one as Tensor)));
    };
    const found = await gradientsOf((traced) => run(traced, format, descriptor));
    const wanted = await gradientsOf((traced) => byHand(traced, format, descriptor));
    expect(found).toEqual(wanted);
    expect(found.every((values) => values.some((value) => value !== 0))).toBe(true);
  });

  it("has no gradient for codes and scales", () => {
    const descriptor: FfnDescriptor = { activation: "silu" };
    const given = inputs(format, descriptor);
    const { grads } = valueAndGrad((tree: Tensor[]) => {
      const [up, down, upScales, downScales] = tree as [Tensor, Tensor, Tensor, Tensor];
      const [x, indices, weights, , , upBias, downBias] = given;
      const rest = [upBias, downBias, undefined, upScales, downScales] as const;
      return sum(run([x, indices, weights, up, down, ...rest], format, descriptor));
    })([given[3], given[4], given[8] as Tensor, given[9] as Tensor]);
    expect(grads).toEqual([null, null, null, null]);
  });

  it("refuses transposed banks, and widths that end within a block", () => {
    const descriptor: FfnDescriptor = { activation: "silu", transposed: true };
    const given = inputs(format, { activation: "silu" });
    expect(() => run(given, format, descriptor)).toThrow(ConfigError);
    expect(() => run(given, format, descriptor)).toThrow(/rounds what is added up in blocks/);
    const narrow = given.with(0, normal(1, [T, H - 1])) as unknown as FfnInputs;
    expect(() => run(narrow, format, { activation: "silu" })).toThrow(ShapeError);
    const bare = given.with(8, undefined) as unknown as FfnInputs;
    expect(() => run(bare, format, { activation: "silu" })).toThrow(/need each other/);
  });
});

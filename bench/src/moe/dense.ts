import { type Backend, type FfnDescriptor, type Tensor, fill, moeFfn } from "@moiety/core";
import {
  type LayerParams,
  forward,
  forwardOperations,
  measuredLayer,
  uploadWeights,
} from "../layer.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { race } from "../timing.ts";
import { type LayerSizes, hostInput, hostWeights } from "../weights.ts";
import { type Bounds, type Cost, leastTimes } from "./bounds.ts";
import { forwardBytes, layerText } from "./layers.ts";
import type { Setting } from "./setting.ts";
import { warmUp } from "./warm.ts";

const HIDDEN = 256;
const INTERMEDIATE = 1024;
const TOP_K = 2;
/** Rows of each expert on average where the price is that of computing, and a T of few. */
const ROWS_PER_EXPERT = 64;
const FEW_TOKENS = 512;
/** The time of a layer, in times of a dense one that computes as much for a token. */
const MAY_COST = 1.15;

const descriptor: FfnDescriptor = {
  activation: "silu",
  gate: { packing: "interleaved", first: "gate" },
};

/**
 * Times a layer against a dense network of as many active weights: one expert k times as wide, run
 * by the same fused operation, without a router.
 */
export async function measureAgainstDense(
  setting: Setting,
  backend: Backend,
  experts: number,
): Promise<Row[]> {
  const sizes = { hidden: HIDDEN, intermediate: INTERMEDIATE, experts, topK: TOP_K };
  const wide = { hidden: HIDDEN, intermediate: INTERMEDIATE * TOP_K, experts: 1, topK: 1 };
  const layer = measuredLayer(sizes);
  const params = await uploadWeights(backend, hostWeights(sizes), "f32");
  const dense = await uploadWeights(backend, hostWeights(wide), "f32");
  const rows: Row[] = [];
  for (const tokens of new Set([(ROWS_PER_EXPERT * experts) / TOP_K, FEW_TOKENS])) {
    const x = backend.tensor(hostInput(tokens, HIDDEN), { shape: [tokens, HIDDEN] });
    const indices = fill(backend, { value: 0, dtype: "i32", shape: [tokens, 1] });
    const ones = fill(backend, { value: 1, dtype: "f32", shape: [tokens, 1] });
    const awaited = (compute: () => Tensor) => async (): Promise<undefined> => {
      backend.scope(compute).dispose();
      await backend.sync();
    };
    const contestants = [
      { run: awaited(() => forward(layer, params, x)) },
      {
        run: awaited(() => denseFfn(dense, x, indices, ones)),
      },
    ];
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    await warmUp(contestants.map(({ run }) => run));
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const [ours, theirs] = await race(contestants, setting.patience);
    for (const tensor of [x, indices, ones]) tensor.dispose();
    if (ours === undefined || theirs === undefined) throw new Error("nothing was timed");
    rows.push(rowFor(sizes, tokens, ours.median, theirs.median));
  }
  for (const { router, experts: bank } of [params, dense]) {
    for (const tensor of [router.weight, bank.gateUp, bank.down]) tensor.dispose();
  }
  return rows;
}

function denseFfn({ experts }: LayerParams, x: Tensor, indices: Tensor, ones: Tensor): Tensor {
  const { gateUp, down } = experts;
  const none = undefined;
  return moeFfn(x, indices, ones, gateUp, down, none, none, none, none, none, { descriptor });
}

function rowFor(sizes: LayerSizes, tokens: number, ours: number, dense: number): Row {
  const used = Math.min(sizes.experts, tokens * sizes.topK);
  const cost: Cost = {
    operations: forwardOperations(sizes, tokens),
    bytes: forwardBytes(sizes, "f32", tokens, used),
  };
  return rowOf(
    `against dense, T = ${tokens}, ${layerText(sizes)}`,
    ours,
    "moiety, one dense expert of the same active size",
    dense,
    {
      cost: rounded(ours / dense),
      rowsPerExpert: (tokens * sizes.topK) / sizes.experts,
      ...cost,
    },
  );
}

/** A row of {@link measureAgainstDense} with its goal; any other as it is. */
export function withCostGoal(row: Row, bounds: Bounds): Row {
  const { rowsPerExpert, operations, bytes } = row;
  if (typeof rowsPerExpert !== "number") return row;
  const times = leastTimes(bounds, { operations, bytes } as Cost);
  const ratio = times.byBytes / times.byFlops;
  const limit = rowsPerExpert < ROWS_PER_EXPERT ? MAY_COST * Math.max(1, ratio) : MAY_COST;
  return {
    ...row,
    goal: rounded(1 / limit),
    costGoal: rounded(limit),
    bytesOverFlops: rounded(ratio),
  };
}

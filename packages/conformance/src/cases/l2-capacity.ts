import {
  type CapacitySpec,
  type RouteSpec,
  type Tensor,
  applyCapacity,
  argsort,
  gatherRows,
  groupRows,
  iota,
  routeTokens,
  transpose,
  uniform,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Program } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { ROUTE_OPS, distinctLogits, upTo } from "./l1-support.ts";
import { withGaps } from "./l2-plan.ts";
import { asInput, permuteCase, replayed } from "./l2-support.ts";

const CAPACITY_OPS = [...ROUTE_OPS, groupRows, gatherRows, argsort, transpose, iota, uniform];

function capacityCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`capacity/${id}`, demand, CAPACITY_OPS, run, { extension: "capacity-drop" });
}

/** A finished selection. */
type SelectionHost = {
  /** `[T, k]` i32. */
  readonly indices: HostTensor;
  /** `[T, k]`. */
  readonly weights: HostTensor;
  /** `[T]` bool. */
  readonly mask?: HostTensor;
};

/** What acts on it. */
interface Selection extends SelectionHost {
  readonly spec: CapacitySpec;
  readonly experts: number;
  readonly sequences?: readonly number[];
}

/** Holds the kept choices to the reference's, exactly. */
async function checkKept(test: CaseContext, selection: Selection): Promise<HostTensor> {
  const { spec, experts, sequences, indices, weights, mask } = selection;
  const keep: Program<SelectionHost, { readonly kept: Tensor }> = ({ inputs }) => {
    const context = { sequences, key: [7, 11], mask: inputs.mask } as const;
    return { kept: applyCapacity(spec, inputs.indices, inputs.weights, experts, context) };
  };
  const inputs = { indices, weights, ...(mask && { mask }) };
  await test.compare(inputs, keep);
  return (await test.observe(inputs, keep)).kept;
}

/** Token t chooses experts t and t + 1, modulo E: every expert has exactly T·2/E assignments. */
function even(tokens: number, experts: number): HostTensor {
  return generated([tokens, 2], "i32", (at) => (Math.floor(at / 2) + (at % 2)) % experts);
}

/** Distinct exact weights in random order. */
function distinctWeights({ random }: CaseContext, shape: readonly number[]): HostTensor {
  const count = shape.reduce((size, one) => size * one, 1);
  const order = random.permutation(count);
  return generated(shape, "f32", (at) => (1 + (order.data[at] ?? 0)) / 1024);
}

const ORDERS: readonly (readonly [CapacitySpec["order"], string])[] = [
  ["position", "token by token"],
  ["choice", "all first choices before all second ones"],
  ["probability", "by weight, the heaviest first"],
  ["prioritized", "by each token's best weight"],
  ["random", "by chance, from the key"],
];

const fixed = (places: number, order: CapacitySpec["order"]): CapacitySpec => ({
  size: { absolute: places },
  per: "batch",
  order,
});

const orders: readonly ConformanceCase[] = ORDERS.flatMap(([order, how]) => [
  capacityCase(`order-${order}`, `places are given ${how}`, async (test) => {
    const { indices } = await replayed(test, 33, 8, 3);
    const weights = distinctWeights(test, [33, 3]);
    await checkKept(test, { spec: fixed(7, order), experts: 8, indices, weights });
  }),
  capacityCase(
    `met-${order}`,
    `a capacity that is met exactly drops nobody (${order})`,
    async (test) => {
      const indices = even(12, 4);
      const weights = distinctWeights(test, [12, 2]);
      const kept = await checkKept(test, { spec: fixed(6, order), experts: 4, indices, weights });
      test.same("kept", kept.data, indices.data);
    },
  ),
  capacityCase(
    `one-over-${order}`,
    `one assignment too many is one dropped (${order})`,
    async (test) => {
      const indices = even(12, 4);
      const weights = distinctWeights(test, [12, 2]);
      const kept = await checkKept(test, { spec: fixed(5, order), experts: 4, indices, weights });
      const dropped = kept.data.filter((id) => id === 4).length;
      test.expect(dropped === 4, `${dropped} were dropped; each of 4 experts had one too many`);
    },
  ),
]);

const sizes: readonly ConformanceCase[] = [
  capacityCase("zero", "a capacity of 0 drops everybody", async (test) => {
    const indices = even(12, 4);
    const weights = distinctWeights(test, [12, 2]);
    const kept = await checkKept(test, {
      spec: fixed(0, "position"),
      experts: 4,
      indices,
      weights,
    });
    test.expect(
      kept.data.every((id) => id === 4),
      `kept [${kept.data}]`,
    );
  }),
  capacityCase(
    "larger-than-all",
    "a capacity beyond all assignments drops nobody",
    async (test) => {
      const indices = generated([9, 1], "i32", () => 2);
      const weights = distinctWeights(test, [9, 1]);
      const spec = fixed(2 ** 31 - 1, "position");
      await checkKept(test, { spec, experts: 4, indices, weights });
    },
  ),
  capacityCase(
    "factor",
    "a capacity may be a factor of the even share, rounded as it says",
    async (test) => {
      const { indices } = await replayed(test, 33, 8, 2);
      const weights = distinctWeights(test, [33, 2]);
      for (const rounding of ["ceil", "floor", "round"] as const) {
        const size = { factor: 1.1, rounding, minimum: 2, multipleOf: 3 };
        const spec = { size, per: "batch", order: "position" } as const;
        await checkKept(test, { spec, experts: 8, indices, weights });
      }
    },
  ),
  capacityCase("no-tokens", "no tokens need no places", async (test) => {
    await checkKept(test, {
      spec: fixed(2, "choice"),
      experts: 4,
      indices: hostTensor([], "i32", [0, 2]),
      weights: hostTensor([], "f32", [0, 2]),
    });
  }),
  capacityCase("many", "more than 65535 assignments ask for places", async (test) => {
    const indices = test.random.integers([32_769, 2], 0, 7);
    const weights = generated([32_769, 2], "f32", () => 1);
    await checkKept(test, { spec: fixed(8000, "position"), experts: 8, indices, weights });
  }),
];

const exceptions: readonly ConformanceCase[] = [
  capacityCase("ties", "equal weights are served by position", async (test) => {
    const { indices } = await replayed(test, 33, 8, 2);
    const weights = generated([33, 2], "f32", () => 0.5);
    const common = { experts: 8, indices, weights };
    const kept = await checkKept(test, { ...common, spec: fixed(5, "probability") });
    const wanted = await checkKept(test, { ...common, spec: fixed(5, "position") });
    test.same("kept by probability", kept.data, wanted.data);
  }),
  capacityCase(
    "prioritized-ties",
    "tokens with equal best weights are served by position",
    async (test) => {
      const { indices } = await replayed(test, 33, 8, 2);
      const weights = generated([33, 2], "f32", (at) => (at % 4 < 2 ? 0.5 : 0.25));
      await checkKept(test, { spec: fixed(5, "prioritized"), experts: 8, indices, weights });
    },
  ),
  capacityCase("no-expert", "choices without an expert take no places", async (test) => {
    const { indices } = await withGaps(test, 33, 8, 3);
    const weights = distinctWeights(test, [33, 3]);
    await checkKept(test, { spec: fixed(6, "position"), experts: 8, indices, weights });
  }),
  capacityCase("padding", "padding takes no places and is dropped", async (test) => {
    const { indices } = await replayed(test, 33, 8, 2);
    const weights = distinctWeights(test, [33, 2]);
    const mask = test.random.bools([33], 0.6);
    const kept = await checkKept(test, {
      spec: fixed(4, "position"),
      experts: 8,
      indices,
      weights,
      mask,
    });
    for (const token of upTo(33)) {
      const own = [...kept.data.subarray(token * 2, token * 2 + 2)];
      const fine = mask.data[token] === 1 || own.every((id) => id === 8);
      test.expect(fine, `padding token ${token} kept [${own}]`);
    }
  }),
  capacityCase("per-sequence", "capacity may count in each of equal sequences", async (test) => {
    const { indices } = await replayed(test, 36, 4, 2);
    const weights = distinctWeights(test, [36, 2]);
    const spec: CapacitySpec = { size: { absolute: 4 }, per: "sequence", order: "position" };
    await checkKept(test, { spec, experts: 4, indices, weights, sequences: [0, 12, 24, 36] });
  }),
  capacityCase(
    "per-unequal-sequence",
    "capacity may count in each of unequal sequences, an empty one too",
    async (test) => {
      const { indices } = await replayed(test, 36, 4, 2);
      const weights = distinctWeights(test, [36, 2]);
      const spec: CapacitySpec = { size: { factor: 0.75 }, per: "sequence", order: "probability" };
      const sequences = [0, 5, 5, 21, 36];
      await checkKept(test, { spec, experts: 4, indices, weights, sequences });
    },
  ),
];

/** Logits whose best experts are few, so that places run out. */
function crowded(test: CaseContext): HostTensor {
  const logits = distinctLogits(test.random, 33, 8);
  return generated([33, 8], "f32", (at) => (logits.data[at] ?? 0) + (at % 8 < 3 ? 4 : 0));
}

function routedCase(id: string, demand: string, part: Partial<RouteSpec>): ConformanceCase {
  return capacityCase(`route-${id}`, demand, async (test) => {
    const spec: RouteSpec = {
      experts: 8,
      topK: 2,
      score: "softmax",
      capacity: fixed(9, "position"),
      ...part,
    };
    // Replayed: the reference's choice is the backend's too, and only dropping is under test.
    const logits = crowded(test);
    const { selected } = await test.reference({ logits }, ({ inputs: { logits } }) => ({
      selected: routeTokens(spec, { logits }).selected,
    }));
    const chosen = asInput(selected, "i32");
    await test.compare({ logits, chosen }, ({ inputs: { logits, chosen } }) => {
      const stages = { select: () => chosen.reshape([33, 2]) };
      const routing = routeTokens(spec, { logits }, {}, stages);
      const { indices, outputWeights } = routing;
      return { indices, selected: routing.selected, outputWeights };
    });
    const { indices, outputWeights } = await test.observe({ logits }, ({ inputs: { logits } }) => {
      const { indices, outputWeights } = routeTokens(spec, { logits });
      return { indices, outputWeights };
    });
    const dropped = upTo(66).filter((at) => indices.data[at] === 8);
    test.expect(dropped.length > 0, "nothing was dropped, though places are few");
    const heavy = dropped.find((at) => outputWeights.data[at] !== 0);
    test.expect(
      heavy === undefined,
      `dropped choice ${heavy} weighs ${outputWeights.data[heavy ?? 0]}`,
    );
  });
}

const routed: readonly ConformanceCase[] = [
  routedCase("drop", "a dropped choice has index E and weight 0; what was selected is kept", {}),
  routedCase("renormalize-before", "weights renormalised before dropping keep what they lost", {
    renormalize: {},
  }),
  routedCase("renormalize-after", "weights renormalised after dropping are shared by who is left", {
    renormalize: { when: "after", epsilon: 2 ** -20 },
    scale: 2.5,
  }),
];

/** Experts with limited places. */
export const capacityCases: readonly ConformanceCase[] = [
  ...orders,
  ...sizes,
  ...exceptions,
  ...routed,
];

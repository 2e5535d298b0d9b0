import {
  FormatError,
  type RouteSpec,
  type RouteStages,
  type Tensor,
  type TokenChoice,
  add,
  loadOf,
  mul,
  routeTokens,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { deepspeedBalance } from "@moiety/losses";
import {
  type DeepspeedTop1Options,
  type StageCall,
  deepspeedSpec,
  deepspeedTop1Stages,
  deepspeedTop2Stages,
  deepspeedTopKStages,
} from "@moiety/routers";
import { type GoldenCase, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import type { Ledger } from "../ledger.ts";
import { floatTensor, indexTensor, takeValues } from "../values.ts";
import { type SlotLayout, gatherSlots, nonZero, scatterSlots, slotsOf } from "./slots.ts";

/** The factor of the balance loss in `grad_aux.*`. */
const COEFFICIENT = 0.01;

/** One of the three gating functions, as its case asks for it. */
interface Gating {
  readonly spec: RouteSpec;
  readonly kind: "top1" | "top2" | "topk";
  readonly dropTokens: boolean;
  /** Whether the source's choice of whom to drop is arbitrary: equals in an unsorted top-k. */
  readonly arbitrary: boolean;
  /** Places of an expert where tokens are dropped. */
  readonly capacity: number;
  stages(call: StageCall): RouteStages;
}

/**
 * `deepspeed_gating`: DeepSpeed's `top1gating`, `top2gating` and `topkgating` from logits `[T, E]`:
 * combine weights and dispatch mask by slot, counts, the balance loss and gradients.
 */
export const deepspeedGating: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const gating = gatingOf(golden);
  const names = ["logits", "upstream_combine_weights", "mask1_rand"];
  const ledger = openLedger(
    golden,
    context,
    [gating.spec.experts, gating.spec.topK],
    (name) => isFloat32Run(name) || names.includes(name),
  );
  const logits = floatTensor(backend, requireTensor(golden, "logits"), precision);
  try {
    const own = await indicesOf(gating, golden, logits, context);
    const recorded = recordedIndices(golden, gating);
    const replayed = gating.arbitrary && !isEqual(own.placed, recorded) ? recorded : undefined;
    if (replayed) judgeDropping(ledger, gating, own, replayed);
    const indices = replayed ?? own.placed;
    const layout = layoutOf(gating, logits.shape[0] ?? 0, own.selected);
    const slots = slotsOf(indices, layout);
    const results = evaluate(gating, golden, { logits, precision, replayed, slots });
    for (const [name, values] of await takeValues(results, context)) {
      if (name !== "weights") {
        ledger.compare(name, values);
        continue;
      }
      const combined = scatterSlots(values, slots, layout);
      ledger.compare("combine_weights", combined);
      if (!replayed) ledger.compare("dispatch_mask", nonZero(combined));
    }
  } finally {
    logits.dispose();
  }
  return ledger.close();
};

function gatingOf({ config }: GoldenCase): Gating {
  const [tokens, experts] = [countOf(config, "num_tokens"), countOf(config, "num_experts")];
  const flag = (key: string): boolean => config[key] === true;
  const options = {
    hiddenSize: 1,
    numExperts: experts,
    capacityFactor: Number(config["capacity_factor"]),
    minCapacity: Number(config["min_capacity"]),
    dropTokens: flag("drop_tokens"),
  } satisfies DeepspeedTop1Options;
  const capacityFor = (k: number): number =>
    Math.max(Math.ceil((tokens / experts) * (options.capacityFactor * k)), options.minCapacity);
  const made = (kind: Gating["kind"], k: number, stages: Gating["stages"]): Gating => ({
    kind,
    spec: deepspeedSpec({ numExperts: experts, k }),
    dropTokens: options.dropTokens,
    arbitrary: kind === "top1" && options.dropTokens && !flag("use_rts"),
    capacity: capacityFor(k),
    stages,
  });
  switch (config["function"]) {
    case "top1gating":
      return made("top1", 1, (call) =>
        deepspeedTop1Stages({ ...options, useRts: flag("use_rts") }, call),
      );
    case "top2gating": {
      const top2SecondExpertSampling = flag("top2_2nd_expert_sampling");
      return made("top2", 2, (call) =>
        deepspeedTop2Stages({ ...options, top2SecondExpertSampling }, call),
      );
    }
    case "topkgating": {
      const k = countOf(config, "k");
      const dropPolicy = config["drop_policy"] === "position" ? "position" : "probs";
      return made("topk", k, (call) => deepspeedTopKStages({ ...options, k, dropPolicy }, call));
    }
    default:
      throw new FormatError(
        `case.json: config.function is ${String(config["function"])}, not one of DeepSpeed's gates`,
        0,
      );
  }
}

/** Routes logits; `replayed` stands in the place of what would be dropped. */
function routeLogits(
  gating: Gating,
  golden: GoldenCase,
  logits: Tensor,
  precision: RunContext["precision"],
  replayed?: Tensor,
): TokenChoice {
  const random = golden.tensors.get("mask1_rand");
  const noise = random && floatTensor(logits.backend, random, precision);
  const call = { context: { noise }, training: true, key: undefined, state: {} };
  const stages = gating.stages(call);
  const own = replayed ? { ...stages, capacity: () => replayed } : stages;
  return routeTokens(gating.spec, { logits }, call.context, own);
}

async function indicesOf(
  gating: Gating,
  golden: GoldenCase,
  logits: Tensor,
  context: RunContext,
): Promise<{ readonly selected: Float64Array; readonly placed: Float64Array }> {
  const results = logits.backend.scope(() => {
    const { selected, indices } = routeLogits(gating, golden, logits, context.precision);
    return { selected, placed: indices };
  });
  const values = await takeValues(results, context);
  const take = (name: "selected" | "placed"): Float64Array =>
    values.get(name)?.data ?? new Float64Array(0);
  return { selected: take("selected"), placed: take("placed") };
}

function layoutOf(gating: Gating, tokens: number, selected: Float64Array): SlotLayout {
  const { spec, dropTokens, capacity, kind } = gating;
  const { experts, topK } = spec;
  const fullest = Math.max(0, ...countsOf(selected, experts));
  return {
    tokens,
    experts,
    topK,
    capacity: dropTokens ? capacity : fullest,
    groupSize: tokens,
    choiceFirst: kind === "top2",
  };
}

/** The choices that the recorded mask dispatches, one for each token. */
function recordedIndices(golden: GoldenCase, { spec }: Gating): Float64Array {
  const { shape, data } = requireTensor(golden, "dispatch_mask");
  const [tokens = 0, experts = 0, capacity = 0] = shape;
  return Float64Array.from({ length: tokens }, (_, token) => {
    const start = token * experts * capacity;
    const place = data
      .subarray(start, start + experts * capacity)
      .findIndex((value) => value !== 0);
    return place < 0 ? spec.experts : Math.floor(place / capacity);
  });
}

/** Whom the source drops is arbitrary: each expert keeps min(capacity, routed) of its tokens. */
function judgeDropping(
  ledger: Ledger,
  { spec: { experts }, capacity }: Gating,
  own: { readonly selected: Float64Array; readonly placed: Float64Array },
  recorded: Float64Array,
): void {
  const wanted = countsOf(own.selected, experts).map((count) => Math.min(count, capacity));
  const isTheirs = recorded.every(
    (expert, token) => expert === experts || expert === own.selected[token],
  );
  const problem = !isTheirs
    ? "a token is dispatched to an expert that it did not choose"
    : [own.placed, recorded].some((placed) => !isEqual(countsOf(placed, experts), wanted))
      ? "an expert keeps more or fewer than min(capacity, routed) tokens"
      : undefined;
  ledger.judge(
    "dispatch_mask",
    "whom the source drops among equals is arbitrary; each expert keeps min(capacity, routed) of its " +
      "tokens, and weights and gradients are compared on the recorded map",
    problem,
  );
}

function evaluate(
  gating: Gating,
  golden: GoldenCase,
  {
    logits,
    precision,
    replayed,
    slots,
  }: {
    readonly logits: Tensor;
    readonly precision: RunContext["precision"];
    readonly replayed: Float64Array | undefined;
    readonly slots: Int32Array;
  },
): Record<string, Tensor> {
  const { backend, shape } = logits;
  const choices = [shape[0] ?? 0, gating.spec.topK];
  const upstream = gatherSlots(requireTensor(golden, "upstream_combine_weights").data, slots);
  const loss = deepspeedBalance({ coefficient: 1, gating: gating.kind });
  return backend.scope(() => {
    const given = backend.tensor(upstream, { shape: choices, dtype: precision });
    const map = replayed && indexTensor(backend, { shape: choices, data: replayed });
    const step = (factor: number) =>
      valueAndGrad(({ logits: traced }: { logits: Tensor }) => {
        const routing = routeLogits(gating, golden, traced, precision, map);
        const balance = loss.evaluate([routing]);
        const total = sum(mul(routing.outputWeights, given));
        return {
          loss: factor === 0 ? total : add(total, mul(balance, factor)),
          aux: { weights: routing.outputWeights, l_aux: balance, exp_counts: loadOf(routing) },
        };
      })({ logits });
    const plain = step(0);
    return {
      ...plain.aux,
      "grad.logits": plain.grads.logits as Tensor,
      "grad_aux.logits": step(COEFFICIENT).grads.logits as Tensor,
    };
  });
}

function countsOf(ids: Float64Array, experts: number): number[] {
  const counts = new Array<number>(experts).fill(0);
  for (const id of ids) if (id < experts) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}

function isEqual(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.from(a).every((value, index) => value === b[index]);
}

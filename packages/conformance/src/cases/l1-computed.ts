import { type RouteSpec, type Tensor, abs, matmul } from "@moiety/core";
import type { BoundedValues, CaseContext, ConformanceCase, ProgramRun } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { routeOutputs } from "./l1-route-check.ts";
import { COMPUTED_OPS, expectDistinct, levelCase, upTo } from "./l1-support.ts";

/** The unit roundoff of f32, in which routers run at least. */
const UNIT = 2 ** -24;
/** Factor of the tight band; the wide one is the reference's own, 2·√H. */
const TIGHT = 8;
/** Share of tokens whose choice rounding may leave open. */
const AMBIGUOUS_SHARE = 0.02;

/** A router with a weight of its own. */
interface ComputedRouter {
  readonly spec: RouteSpec;
  /** `[T, H]`. */
  readonly x: HostTensor;
  /** `[H, E]`. */
  readonly weight: HostTensor;
}

type RouterRun = ProgramRun<{ readonly x: HostTensor; readonly weight: HostTensor }>;

/** Logits, and what bounds their rounding errors. */
function measure({ inputs: { x, weight } }: RouterRun): Record<"logits" | "magnitudes", Tensor> {
  return { logits: matmul(x, weight), magnitudes: matmul(abs(x), abs(weight)) };
}

/** One token: its exact logits, its choice, and how far each logit may be off. */
interface TokenChoice {
  readonly logits: readonly number[];
  readonly chosen: readonly number[];
  /** τ: two logits nearer than this may change places. */
  readonly band: number;
}

/** What is wrong with a choice, if anything. */
function faultOf({ logits, chosen, band }: TokenChoice): string | undefined {
  const cut = cutOf(logits, chosen.length);
  for (const [expert, logit] of logits.entries()) {
    const is = chosen.includes(expert);
    if (!is && logit > cut + band) return `expert ${expert} is ${logit - cut} above the cut`;
    if (is && logit < cut - band) return `expert ${expert} is ${cut - logit} below the cut`;
  }
  const values = chosen.map((expert) => logits[expert] ?? 0);
  const at = values.findIndex((value, place) => value < (values[place + 1] ?? -Infinity) - band);
  return at < 0 ? undefined : `choice ${at} is ${values[at]}, and the next ${values[at + 1]}`;
}

/** The k-th highest logit. */
function cutOf(logits: readonly number[], k: number): number {
  return logits.toSorted((a, b) => b - a)[k - 1] ?? Infinity;
}

/** Whether the k-th and the next are nearer than the band. */
function isAmbiguous({ logits, chosen, band }: TokenChoice): boolean {
  const sorted = logits.toSorted((a, b) => b - a);
  const [last = 0, next = -Infinity] = sorted.slice(chosen.length - 1, chosen.length + 1);
  return last - next < band;
}

/**
 * How far scores of one token may be off, beyond their logits: as much as e^x of a number of that
 * size and the division may round, told as a difference of logits.
 */
function scoreBand({ selectBy }: RouteSpec, logits: readonly number[]): number {
  if (selectBy === "logits") return 0;
  const range = Math.max(...logits) - Math.min(...logits);
  return 2 * (12 + 4 * range) * UNIT;
}

async function checkComputed(test: CaseContext, router: ComputedRouter): Promise<void> {
  const { spec, x, weight } = router;
  const { logits, magnitudes } = await test.reference({ x, weight }, measure);
  const { indices, outputWeights } = await test.observe({ x, weight }, ({ inputs }) =>
    routeOutputs(spec, { logits: matmul(inputs.x, inputs.weight) }),
  );
  expectDistinct(test, indices, spec.experts);
  let [ambiguous, loose] = [0, 0];
  for (const token of upTo(x.shape[0] ?? 0)) {
    const own = rowOf(logits, token);
    const extra = scoreBand(spec, own.values);
    const choice = {
      logits: own.values,
      chosen: [...indices.data.subarray(token * spec.topK, (token + 1) * spec.topK)],
    };
    const band = 2 * Math.max(...own.bounds) + extra;
    const fault = faultOf({ ...choice, band });
    test.expect(fault === undefined, `token ${token}: ${fault}, with a band of ${band}`);
    if (isAmbiguous({ ...choice, band })) ambiguous++;
    const tight = 2 * TIGHT * UNIT * Math.max(...rowOf(magnitudes, token).values) + extra;
    if (faultOf({ ...choice, band: tight }) !== undefined) loose++;
  }
  const tokens = Math.max(1, x.shape[0] ?? 0);
  test.note("ambiguousTokens", ambiguous);
  test.note("tight", loose === 0 ? 1 : 0);
  if (ambiguous > AMBIGUOUS_SHARE * tokens) {
    test.poor(`rounding could decide the choice of ${ambiguous} of ${tokens} tokens`);
  }
  await checkReplayed(test, router, { indices, outputWeights });
}

/** Weights are judged with the backend's own choice, so that a near tie is no second failure. */
async function checkReplayed(
  test: CaseContext,
  { spec, x, weight }: ComputedRouter,
  got: Record<"indices" | "outputWeights", HostTensor>,
): Promise<void> {
  const inputs = { x, weight, indices: got.indices };
  const wanted = await test.reference(inputs, ({ inputs: { x, weight, indices } }) => {
    const { outputWeights } = routeOutputs(spec, { logits: matmul(x, weight) }, {}, indices);
    return { outputWeights };
  });
  test.within("outputWeights", got.outputWeights, wanted.outputWeights);
}

function rowOf(
  { values, bounds, shape }: BoundedValues,
  row: number,
): { readonly values: number[]; readonly bounds: number[] } {
  const width = shape.at(-1) ?? 0;
  const [start, end] = [row * width, (row + 1) * width];
  return { values: [...values.subarray(start, end)], bounds: [...bounds.subarray(start, end)] };
}

function computedCase(
  id: string,
  demand: string,
  make: (test: CaseContext) => ComputedRouter,
): ConformanceCase {
  return levelCase("L1", `route/computed-${id}`, demand, COMPUTED_OPS, (test) =>
    checkComputed(test, make(test)),
  );
}

const BAND = "rounding may change a choice between near equals only";

/** Routing from an input, where rounding of the logits may decide between near equals. */
export const computedCases: readonly ConformanceCase[] = [
  computedCase("32-experts", `logits are computed, and ${BAND}`, ({ random }) => ({
    spec: { experts: 32, topK: 4, score: "softmax" },
    x: random.normal([256, 64]),
    weight: random.normal([64, 32], 1 / 8),
  })),
  computedCase("128-experts", `of 128 experts 8 are chosen, and ${BAND}`, ({ random }) => ({
    spec: { experts: 128, topK: 8, score: "softmax", renormalize: {} },
    x: random.normal([129, 128]),
    weight: random.normal([128, 128], 1 / 11),
  })),
  computedCase(
    "by-logits",
    `computed logits are compared themselves, and ${BAND}`,
    ({ random }) => ({
      spec: {
        experts: 64,
        topK: 4,
        score: "softmax",
        selectBy: "logits",
        weight: "softmaxOfChosen",
      },
      x: random.normal([128, 96]),
      weight: random.normal([96, 64], 1 / 10),
    }),
  ),
  computedCase("positive", `sums of positive products drift, and still ${BAND}`, ({ random }) => ({
    spec: { experts: 16, topK: 2, score: "softmax", selectBy: "logits" },
    x: random.uniform([128, 256], 0, 1),
    weight: random.uniform([256, 16], 0, 0.25),
  })),
];

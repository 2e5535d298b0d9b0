import { baseRouter } from "@moiety/routers";
import { type GoldenCase, type Values, requireTensor } from "../case.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import { floatTensor, takeValues } from "../values.ts";
import { routeLogits } from "./route-logits.ts";

/** How far the sum of an assignment may stay behind the recorded one, as a part of it. */
const SHORTFALL = 1e-4;

/**
 * `base_assignment`: fairseq's balanced assignment of scores `[T, E]`. The source's auction is the
 * best only to its own ε, so ours is held to balance and to the recorded sum.
 */
export const baseAssignment: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const scores = requireTensor(golden, "scores");
  const [tokens = 0, experts = 0] = scores.shape;
  const ledger = openLedger(
    golden,
    context,
    [experts],
    (name) => isFloat32Run(name) || name === "scores",
  );
  const results = backend.scope(() => {
    const router = baseRouter({ hiddenSize: experts, numExperts: experts });
    const logits = floatTensor(backend, scores, precision);
    return { indices: routeLogits(router, {}, logits, { training: true }).indices };
  });
  const values = await takeValues(results, context);
  const found = values.get("indices")?.data ?? new Float64Array(0);
  const total = totalOf(scores, found);
  const [wanted = Number.NaN] = requireTensor(golden, "total_score").data;
  const rule =
    "a valid balanced assignment, whose sum is at least the recorded one less 1e-4 of it";
  const counts = countsOf(found, experts);
  const uneven = counts.some((count) => count * experts !== tokens);
  const balance = uneven ? `experts have ${counts.join(", ")} of ${tokens} tokens` : undefined;
  const short = !(total >= wanted - SHORTFALL * Math.abs(wanted));
  const { assignment, order } = damageOf(golden, scores, wanted);
  ledger.judge("expert_of_token", rule, assignment ?? balance);
  ledger.judge("sort_by_expert", rule, order ?? balance);
  const behind = short ? `the sum is ${total}, but ${wanted} is recorded` : undefined;
  ledger.judge("total_score", rule, assignment ?? behind);
  return ledger.close();
};

/** What the recorded tensors contradict each other in: nothing, in a case that is whole. */
function damageOf(
  golden: GoldenCase,
  scores: Values,
  total: number,
): { readonly assignment: string | undefined; readonly order: string | undefined } {
  const [tokens = 0, experts = 0] = scores.shape;
  const assigned = requireTensor(golden, "expert_of_token").data;
  const sorted = requireTensor(golden, "sort_by_expert").data;
  const places = tokens / experts;
  const sum = totalOf(scores, assigned);
  const adds = Math.abs(sum - total) <= 1e-9 * Math.max(Math.abs(total), 1);
  const fits = sorted.every((token, at) => assigned[token] === Math.floor(at / places));
  return {
    assignment: adds ? undefined : `the recorded assignment has the sum ${sum}, not ${total}`,
    order: fits ? undefined : "the recorded order is not that of the recorded assignment",
  };
}

function totalOf({ shape, data }: Values, chosen: ArrayLike<number>): number {
  const experts = shape[1] ?? 0;
  return Array.from(chosen).reduce(
    (sum, expert, token) => sum + (data[token * experts + expert] ?? Number.NaN),
    0,
  );
}

function countsOf(ids: ArrayLike<number>, experts: number): number[] {
  const counts = new Array<number>(experts).fill(0);
  for (const id of Array.from(ids)) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}

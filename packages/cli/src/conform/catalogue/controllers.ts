import {
  type ConformanceCase,
  type ControllerSubject,
  controllerCase,
  programCase,
} from "@moiety/conformance";
import { type RouteSpec, loadOf, routeTokens } from "@moiety/core";
import {
  type SelectionBiasState,
  type SparsityState,
  biasController,
  quantileController,
  reluController,
} from "@moiety/losses";
import {
  type ExpertChoiceState,
  type StagedRouterState,
  deepseekV3Router,
  expertChoiceRouter,
  overflowController,
  overflowRouter,
  reluRouter,
  thresholdController,
} from "@moiety/routers";
import { SIZES, TARGET } from "./sizes.ts";

const { experts, hiddenSize, topK } = SIZES;
const numExperts = experts;

const deepseek: ControllerSubject["router"] = deepseekV3Router({
  hiddenSize,
  nRoutedExperts: experts,
  numExpertsPerTok: topK,
  nGroup: 1,
  topkGroup: 1,
});
const overflowing: ControllerSubject["router"] = overflowRouter({
  hiddenSize,
  spec: {
    experts,
    topK,
    score: "softmax",
    capacity: { size: { factor: 1 }, per: "sequence", order: "position" },
  },
  threshold: { learned: "expert" },
});

/** Controllers, each with a router whose state it changes. */
const controllerSubjects: readonly ControllerSubject[] = [
  {
    name: "catalogue/biasController",
    router: deepseek,
    update: (state, routing) =>
      biasController({ rate: 0.25 }).update(state as SelectionBiasState, loadOf(routing)),
  },
  {
    name: "catalogue/biasController-centered-target",
    router: deepseek,
    update: (state, routing) =>
      biasController({ rate: 0.25, centered: true, target: TARGET }).update(
        state as SelectionBiasState,
        loadOf(routing),
      ),
  },
  {
    name: "catalogue/reluController",
    router: reluRouter({ hiddenSize, numExperts }),
    update: (state, routing) =>
      reluController({ experts, topK }).update(
        state as SparsityState,
        loadOf(routing),
        routing.logits.shape[0] ?? 0,
      ),
  },
  {
    name: "catalogue/thresholdController",
    router: expertChoiceRouter({ hiddenSize, numExperts, mode: "threshold" }),
    update: (state, routing) =>
      thresholdController({ momentum: 0.5 }).update(state as ExpertChoiceState, [routing]),
  },
  {
    name: "catalogue/overflowController",
    router: overflowing,
    update: (state, routing) =>
      overflowController({ momentum: 0.5 }).update(state as StagedRouterState, [routing]),
  },
];

const BIASED: RouteSpec = { experts, topK, score: "softmax", selectBy: "logits", bias: true };

/**
 * Its margins have many ties, which rounding would break: so the logits are exact.
 */
const quantiles: ConformanceCase = programCase({
  id: "L4/catalogue/quantileController",
  demand: "catalogue/quantileController gives the references' state after a step",
  inputs: ({ random }) => ({
    logits: random.dyadic([18, experts]),
    bias: random.dyadic([experts]),
  }),
  program({ inputs: { logits, bias } }) {
    const controller = quantileController({ momentum: 0.5 });
    const state = { selectionBias: bias };
    const estimate = controller.estimate(state, routeTokens(BIASED, { logits, bias }));
    const { selectionBias } = controller.update(state, [estimate]);
    return { estimate, selectionBias };
  },
});

/** Cases of every controller. */
export const controllerCases: readonly ConformanceCase[] = [
  ...controllerSubjects.map((subject) => controllerCase(subject)),
  quantiles,
];

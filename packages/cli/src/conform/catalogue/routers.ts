import { type ConformanceCase, type RouterSubject, routerCases } from "@moiety/conformance";
import type { ExpertBank, RoutingLoss } from "@moiety/core";
import { type SpecialExperts, glu, withSpecialExperts } from "@moiety/experts";
import { entropyLoss, switchBalance, zLoss } from "@moiety/losses";
import {
  type RouterEntry,
  type ZayaOptions,
  baseExperts,
  gumbelNoise,
  hierarchicalRouter,
  moePlusPlusRouter,
  routerCatalogue,
  softRouter,
  sparseMixerRouter,
  zayaRouter,
} from "@moiety/routers";
import { judgeAssignment } from "./assignment.ts";
import { INNER, SIZES, VOCABULARY } from "./sizes.ts";

/** Routers whose gradient is not that of what they compute, and what it is instead. */
export const ESTIMATORS: Readonly<Record<string, string>> = {
  sparseMixerRouter: "Heun's estimate of the gradient of a drawn choice",
  reinforceRouter: "its baseline sends no gradient into its input",
  stMoeRouter: "dispatch is straight-through: its gradient reaches the weights",
};

const ZAYA: Omit<ZayaOptions, "first"> = {
  hiddenSize: SIZES.hiddenSize,
  numExperts: SIZES.experts - 1,
  numExpertsPerTok: SIZES.topK,
  routerHiddenSize: SIZES.hiddenSize,
};

/**
 * Routers that divide by the sum of what found a place or by the dtype's own ε. What padding weighs,
 * two tokens of eighteen, is 0 / ε then, and ε another number in float64.
 */
const EPSILON_ALONE: readonly string[] = [
  "deepspeedTop2Router",
  "deepspeedTopKRouter",
  "nllbRouter",
];

/** The special experts of routers that ask for them, behind their networks. */
const SPECIAL: Readonly<Record<string, readonly SpecialExperts[]>> = {
  moePlusPlusRouter: [
    { kind: "constant", count: 2 },
    { kind: "identity", count: 1 },
    { kind: "zero", count: 1 },
  ],
  zayaRouter: [{ kind: "zero", count: 1 }],
};

/** Routers of the catalogue that are made otherwise here, and why. */
const OTHERWISE: Readonly<Record<string, RouterSubject["router"]>> = {
  // Random logits are seldom as near to one another as ε of 0.01 asks.
  sparseMixerRouter: sparseMixerRouter({
    hiddenSize: SIZES.hiddenSize,
    numLocalExperts: SIZES.experts,
    routerJitterNoise: 0.5,
  }),
  // At its usual width of 256 rounding could decide choices.
  zayaRouter: zayaRouter({ ...ZAYA, first: true }),
};

/** Routers with a bank and losses that fit them, in the order of the catalogue; then variants. */
export const routerSubjects: readonly RouterSubject[] = [
  ...routerCatalogue.map(subjectOf),
  {
    name: "catalogue/softRouter-lucidrains",
    router: softRouter({
      hiddenSize: SIZES.hiddenSize,
      numExperts: SIZES.experts,
      numSlots: SIZES.topK,
      variant: "lucidrains",
      useLayernorm: true,
      noise: gumbelNoise(0.5),
    }),
    losses: lossesOf("softRouter"),
  },
  {
    name: "catalogue/hierarchicalRouter-labels",
    router: hierarchicalRouter({
      inputSize: SIZES.hiddenSize,
      levels: [
        { spec: { experts: 3, topK: 1, score: "softmax" }, by: "label" },
        { spec: { experts: 3, topK: SIZES.topK, score: "softmax" } },
      ],
    }),
    labels: 3,
    losses: lossesOf("hierarchicalRouter"),
  },
  {
    name: "catalogue/zayaRouter-later",
    router: zayaRouter(ZAYA),
    previous: { routerState: SIZES.hiddenSize },
    experts: bankOf("zayaRouter"),
    losses: lossesOf("zayaRouter"),
  },
  {
    name: "catalogue/moePlusPlusRouter-later",
    router: moePlusPlusRouter({
      hiddenSize: SIZES.hiddenSize,
      numExperts: SIZES.experts,
      numExpertsPerTok: SIZES.topK,
      capacity: { factor: 1, ratio: 0.75 },
    }),
    previous: { logits: SIZES.experts },
    experts: bankOf("moePlusPlusRouter"),
    losses: lossesOf("moePlusPlusRouter"),
  },
];

/** Cases of every router of the catalogue. */
export const catalogueRouterCases: readonly ConformanceCase[] = routerSubjects.flatMap((subject) =>
  routerCases(subject),
);

function subjectOf(entry: RouterEntry): RouterSubject {
  const { name } = entry;
  return {
    name: `catalogue/${name}`,
    router: OTHERWISE[name] ?? entry.make({ ...SIZES, vocabSize: VOCABULARY }),
    compare: EPSILON_ALONE.includes(name) ? { ambiguous: 0.12 } : undefined,
    judge: name === "baseRouter" ? judgeAssignment : undefined,
    vocabSize: VOCABULARY,
    experts: bankOf(name),
    losses: lossesOf(name),
    ofFunction: !Object.hasOwn(ESTIMATORS, name),
  };
}

/** Gated experts, with what the router asks for behind or around them. */
function bankOf(name: string): ExpertBank<unknown> {
  const special = SPECIAL[name] ?? [];
  const others = special.reduce((sum, { count }) => sum + count, 0);
  const networks = glu({
    experts: SIZES.experts - others,
    hiddenSize: SIZES.hiddenSize,
    intermediateSize: INNER,
    activation: "silu",
  });
  if (special.length > 0) return withSpecialExperts(networks, special) as ExpertBank<unknown>;
  return (name === "baseRouter" ? baseExperts(networks) : networks) as ExpertBank<unknown>;
}

/** Losses that any routing of the router's kind has. */
function lossesOf(name: string): readonly RoutingLoss[] {
  const stable = zLoss({ coefficient: 0.5 });
  if (name === "softRouter") return [stable];
  const counts = name !== "expertChoiceRouter";
  return [stable, counts ? switchBalance({ coefficient: 2 }) : entropyLoss({ coefficient: 2 })];
}

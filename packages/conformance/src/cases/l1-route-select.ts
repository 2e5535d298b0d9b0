import type { GroupLimit, RouteSpec, ScoreKind } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { type RouteCall, checkRoute, routeCase } from "./l1-route-check.ts";
import { ROUTE_OPS, distinctLogits, levelCase, reshaped, upTo } from "./l1-support.ts";

const SCORES: readonly ScoreKind[] = ["softmax", "sigmoid", "sqrtSoftplus", "identity"];

const scoreKinds: readonly ConformanceCase[] = [
  ...SCORES.map((score) =>
    routeCase(`score-${score}`, `scores are the ${score} of the logits`, (random) => ({
      spec: { experts: 16, topK: 3, score },
      inputs: { logits: distinctLogits(random, 17, 16) },
    })),
  ),
  routeCase(
    "select-by-logits",
    "selectBy logits tells experts apart whose scores have saturated",
    (random) => {
      const near = distinctLogits(random, 17, 16);
      const logits = generated([17, 16], "f32", (index) => 40 + (near.data[index] ?? 0));
      return {
        spec: { experts: 16, topK: 3, score: "sigmoid", selectBy: "logits" },
        inputs: { logits },
      };
    },
  ),
  routeCase(
    "select-by-logits-bias",
    "with selectBy logits the bias is added to the logits",
    (random) => ({
      spec: { experts: 16, topK: 3, score: "softmax", selectBy: "logits", bias: true },
      inputs: { logits: distinctLogits(random, 17, 16), bias: oneExpertUp(random, 16, 4) },
    }),
  ),
];

/** A bias that lifts every third expert, by different amounts; dyadic and off the logits' grid. */
function oneExpertUp(random: CaseRandom, experts: number, by: number): HostTensor {
  const amounts = random.permutation(experts);
  return generated([experts], "f32", (expert) =>
    expert % 3 === 0 ? by + (amounts.data[expert] ?? 0) / 256 : (amounts.data[expert] ?? 0) / 256,
  );
}

const biases: readonly ConformanceCase[] = [
  levelCase(
    "L1",
    "route/bias-chooses",
    "the bias takes part in the choice and its order",
    ROUTE_OPS,
    async (test) => {
      // Expert 5 is the worst by its logit, and the best with its bias; expert 2 the other way.
      const logits = generated([9, 8], "f32", (index) => {
        const [token, expert] = [Math.floor(index / 8), index % 8];
        return ((expert * 3 + token) % 8) / 4 + (expert === 2 ? 4 : 0) - (expert === 5 ? 4 : 0);
      });
      const bias = hostTensor([0, 0, -16, 0, 0, 16, 0, 0], "f32");
      const { got } = await checkRoute(test, () => ({
        spec: { experts: 8, topK: 2, score: "identity", bias: true },
        inputs: { logits, bias },
      }));
      for (const token of upTo(9)) {
        const chosen = [...got.indices.data.subarray(token * 2, token * 2 + 2)];
        test.expect(
          chosen[0] === 5,
          `token ${token} chose [${chosen}], but the bias lifts expert 5`,
        );
        test.expect(!chosen.includes(2), `token ${token} chose [${chosen}], 2 has a bias of −16`);
      }
    },
  ),
  routeCase("bias-never-weighs", "weights come from the unbiased scores", (random) => ({
    spec: { experts: 16, topK: 4, score: "sigmoid", bias: true },
    inputs: { logits: distinctLogits(random, 17, 16), bias: oneExpertUp(random, 16, 1) },
  })),
  routeCase("bias-softmax", "a bias is added after softmax", (random) => ({
    spec: { experts: 16, topK: 4, score: "softmax", bias: true },
    inputs: { logits: distinctLogits(random, 17, 16), bias: oneExpertUp(random, 16, 0.5) },
  })),
  routeCase("bias-negative", "a bias may be negative, and biased scores too", (random) => ({
    spec: { experts: 16, topK: 4, score: "sigmoid", bias: true },
    inputs: {
      logits: distinctLogits(random, 17, 16),
      bias: generated([16], "f32", (expert) => -1 - ((expert * 5) % 16) / 8),
    },
  })),
];

const ties: readonly ConformanceCase[] = [
  ...SCORES.map((score) =>
    routeCase(
      `ties-all-equal-${score}`,
      `of equal ${score} scores the lowest experts are chosen, in order`,
      () => ({
        spec: { experts: 33, topK: 4, score },
        inputs: {
          logits: generated([5, 33], "f32", (at) => [0, 1, -1, 0.125, 6][Math.floor(at / 33)] ?? 0),
        },
      }),
    ),
  ),
  routeCase(
    "ties-straddle-k",
    "where equal scores straddle the k-th place, the lower expert is chosen",
    (random) => {
      const shift = random.integer(0, 4);
      const logits = generated([9, 16], "f32", (index) => {
        const expert = index % 16;
        const token = Math.floor(index / 16);
        return (expert + shift) % (token + 3) === 0 ? 2 : expert === token ? 3 : 0;
      });
      return { spec: { experts: 16, topK: 2, score: "softmax" }, inputs: { logits } };
    },
  ),
  routeCase(
    "ties-by-bias",
    "scores that only the bias makes equal tie, and the lower expert is chosen",
    (random) => {
      const shift = random.integer(0, 3);
      const logits = generated([5, 8], "f32", (index) => ((index % 8) + shift) / 4);
      const bias = generated([8], "f32", (expert) => 4 - expert / 4);
      return {
        spec: { experts: 8, topK: 3, score: "identity", bias: true },
        inputs: { logits, bias },
      };
    },
  ),
  routeCase(
    "ties-bias-breaks",
    "a bias breaks the tie of equal scores, by as little as it may be",
    (random) => {
      const order = random.permutation(8);
      return {
        spec: { experts: 8, topK: 3, score: "identity", bias: true },
        inputs: {
          logits: generated([5, 8], "f32", () => 1),
          bias: generated([8], "f32", (expert) => (order.data[expert] ?? 0) * 2 ** -20),
        },
      };
    },
  ),
];

const GROUPS: readonly GroupLimit["score"][] = ["max", { top: 2 }];

/** Three quarters of the groups of 16 experts stay closed. */
function grouped(score: GroupLimit["score"], fill: GroupLimit["fill"]): RouteSpec {
  return {
    experts: 16,
    topK: 3,
    score: "softmax",
    groups: { count: 4, topK: 2, score, fill },
  };
}

const groups: readonly ConformanceCase[] = [
  ...GROUPS.flatMap((score) =>
    (["mask", "zero"] as const).map((fill) => {
      const by = score === "max" ? "best expert" : "two best experts";
      return routeCase(
        `groups-${score === "max" ? "max" : "top2"}-${fill}`,
        `groups are ranked by their ${by}, and the experts of the others get ${fill}`,
        (random) => ({
          spec: grouped(score, fill),
          inputs: { logits: distinctLogits(random, 17, 16) },
        }),
      );
    }),
  ),
  routeCase(
    "groups-sum-differs-from-max",
    "a group with two good experts beats a group with the single best",
    () => {
      const rows = [
        [4, 0, 0, 0, 3, 3, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0.5],
        [0, 0, 1, 2, 5, -4, -4, -4, 3, 0, 3, 0, 2.5, 2.25, 0, 0],
      ];
      return {
        spec: {
          experts: 16,
          topK: 2,
          score: "identity",
          groups: { count: 4, topK: 1, score: { top: 2 }, fill: "mask" },
        },
        inputs: { logits: hostTensor(rows.flat(), "f32", [2, 16]) },
      };
    },
  ),
  routeCase("groups-ties", "of groups with equal scores the lower is kept", () => ({
    spec: {
      experts: 16,
      topK: 3,
      score: "identity",
      groups: { count: 4, topK: 2, score: { top: 2 }, fill: "mask" },
    },
    inputs: {
      logits: generated([9, 16], "f32", (index) => {
        const [token, expert] = [Math.floor(index / 16), index % 16];
        return ((expert + token) % 4) / 2 + (token === expert ? 0.25 : 0);
      }),
    },
  })),
  routeCase(
    "groups-zero-beats-negative",
    "an expert of a closed group that scores 0 beats negative biased scores",
    (random) => ({
      spec: {
        experts: 8,
        topK: 4,
        score: "sigmoid",
        bias: true,
        groups: { count: 4, topK: 1, score: { top: 2 }, fill: "zero" },
      },
      inputs: {
        logits: distinctLogits(random, 9, 8),
        bias: generated([8], "f32", (expert) => (expert % 2 === 0 ? -2 : 0.125)),
      },
    }),
  ),
  routeCase(
    "groups-mask-keeps-negative",
    "a closed group stays closed though its experts would beat negative scores",
    (random) => ({
      spec: {
        experts: 8,
        topK: 2,
        score: "sigmoid",
        bias: true,
        groups: { count: 4, topK: 1, score: "max", fill: "mask" },
      },
      inputs: {
        logits: distinctLogits(random, 9, 8),
        bias: generated([8], "f32", (expert) => (expert % 2 === 0 ? -2 : 0.125)),
      },
    }),
  ),
  routeCase("groups-of-one", "the two best of a group of one expert are that expert", (random) => ({
    spec: {
      experts: 8,
      topK: 2,
      score: "softmax",
      groups: { count: 8, topK: 3, score: { top: 2 }, fill: "mask" },
    },
    inputs: { logits: distinctLogits(random, 9, 8) },
  })),
];

/** Which experts each of the tokens may choose, as rows of 0 and 1. */
function allowedRows(rows: readonly (readonly number[])[]): HostTensor {
  return reshaped(hostTensor(rows.flat(), "bool"), [rows.length, rows[0]?.length ?? 0]);
}

const ALLOWED = allowedRows([
  [1, 1, 1, 1, 1, 1, 1, 1],
  [0, 0, 0, 1, 1, 0, 0, 1],
  [0, 0, 0, 0, 1, 1, 0, 0],
  [0, 0, 0, 0, 0, 0, 0, 1],
  [1, 0, 0, 0, 0, 0, 0, 0],
  [0, 0, 0, 0, 0, 0, 0, 0],
]);

function allowedCall(random: CaseRandom, spec: Partial<RouteSpec>): RouteCall {
  return {
    spec: { experts: 8, topK: 3, score: "softmax", ...spec },
    inputs: { logits: distinctLogits(random, 6, 8), allowed: ALLOWED },
  };
}

const allowed: readonly ConformanceCase[] = [
  routeCase(
    "allowed-fewer-than-k",
    "a token with fewer than k allowed experts has index E and weight 0 in the other places",
    (random) => allowedCall(random, {}),
  ),
  routeCase(
    "allowed-sigmoid",
    "experts that are not allowed are not chosen, however high they score",
    (random) => allowedCall(random, { score: "sigmoid", topK: 1 }),
  ),
  routeCase(
    "allowed-none-epsilon",
    "a token without an allowed expert has weights of 0 where the renormalisation has an ε",
    (random) => allowedCall(random, { renormalize: { epsilon: 2 ** -20 } }),
  ),
  routeCase(
    "allowed-none-epsilon-max",
    "a token without an allowed expert has weights of 0 where ε is the least norm",
    (random) => allowedCall(random, { renormalize: { epsilon: 2 ** -20, guard: "max" } }),
  ),
  routeCase(
    "allowed-softmax-of-chosen",
    "softmax over the chosen leaves out places without an expert",
    (random) => allowedCall(random, { weight: "softmaxOfChosen" }),
  ),
  routeCase(
    "allowed-sigmoid-of-chosen",
    "sigmoid of the chosen is 0 at places without an expert",
    (random) => allowedCall(random, { weight: "sigmoidOfChosen" }),
  ),
  routeCase("allowed-groups", "an expert must be allowed and in one of the best groups", (random) =>
    allowedCall(random, { topK: 2, groups: { count: 4, topK: 2, score: "max", fill: "mask" } }),
  ),
  routeCase("allowed-ties", "of equal scores the lowest allowed experts are chosen", () => ({
    spec: { experts: 8, topK: 3, score: "softmax" },
    inputs: { logits: generated([6, 8], "f32", () => 1), allowed: ALLOWED },
  })),
];

/** Which experts are chosen. */
export const routeSelectCases: readonly ConformanceCase[] = [
  ...scoreKinds,
  ...biases,
  ...ties,
  ...groups,
  ...allowed,
];

import type { RouteSpec } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { checkRoute, routeCase, routeProgram } from "./l1-route-check.ts";
import { ROUTE_OPS, distinctLogits, edited, levelCase, rowsOf, upTo } from "./l1-support.ts";

const HUGE: HostTensor = hostTensor(
  [
    [0, 1e4, -1e4, 1, -1, 9000, -9000, 0],
    [-1e4, -1e4, -1e4, -1e4, -1e4, -1e4, -9000, -1e4],
    [1e4, 1e4, 1e4, 1e4, 1e4, 1e4, 1e4, 1e4],
    [-1e4, 1e4, -1e4, 1e4, -1e4, 1e4, -1e4, 1e4],
  ].flat(),
  "f32",
  [4, 8],
);

const large: readonly ConformanceCase[] = (
  [
    ["softmax", { score: "softmax" }],
    ["softmax-renormalized", { score: "softmax", renormalize: {} }],
    ["sigmoid", { score: "sigmoid", renormalize: { epsilon: 1e-20 } }],
    ["sqrt-softplus", { score: "sqrtSoftplus", renormalize: { epsilon: 1e-20 } }],
    ["softcap", { score: "softmax", softcap: 30 }],
    ["softmax-of-chosen", { score: "softmax", selectBy: "logits", weight: "softmaxOfChosen" }],
  ] satisfies readonly (readonly [string, Omit<RouteSpec, "experts" | "topK">])[]
).map(([id, spec]) =>
  routeCase(`large-logits-${id}`, "logits of ±10⁴ give finite scores and the right choice", () => ({
    spec: { experts: 8, topK: 3, ...spec },
    // A token whose scores all vanish has nothing that a sigmoid's absolute error could be held to.
    inputs: { logits: spec.score === "softmax" ? HUGE : rowsOf(HUGE, [0, 2, 3]) },
  })),
);

const close: readonly ConformanceCase[] = [
  routeCase(
    "equal-after-f16",
    "logits that f16 would make equal are told apart: routing is in f32 at least",
    (random) => {
      const order = upTo(9).flatMap(() => [...random.permutation(8).data]);
      const logits = hostTensor(
        order.map((step) => 4 + step * 2 ** -12),
        "f32",
        [9, 8],
      );
      return { spec: { experts: 8, topK: 3, score: "softmax" }, inputs: { logits } };
    },
  ),
  routeCase(
    "one-ulp-apart",
    "logits one unit in the last place apart are told apart by selectBy logits",
    (random) => {
      const order = upTo(9).flatMap(() => [...random.permutation(8).data]);
      const logits = hostTensor(
        order.map((step) => 1 + step * 2 ** -23),
        "f32",
        [9, 8],
      );
      return {
        spec: { experts: 8, topK: 3, score: "softmax", selectBy: "logits" },
        inputs: { logits },
      };
    },
  ),
  routeCase("minus-zero", "logits of −0 and 0 tie, and the lower expert is chosen", () => {
    const rows = [
      [-0, 0, -0, 0, -1, -0],
      [0, -0, 0, -0, 1, 0],
      [-1, -0, 0, -1, -0, 0],
    ];
    const logits = hostTensor(rows.flat(), "f32", [3, 6]);
    return { spec: { experts: 6, topK: 4, score: "identity" }, inputs: { logits } };
  }),
];

const [TOKENS, EXPERTS, SPOILT] = [17, 12, 6] as const;

/** Logits, and the same with NaN at some experts of one token. */
function spoilt(
  test: CaseContext,
  experts: readonly number[],
): Record<"clean" | "dirty", HostTensor> {
  const clean = distinctLogits(test.random, TOKENS, EXPERTS);
  const edits = experts.map((expert) => [SPOILT * EXPERTS + expert, Number.NaN] as const);
  return { clean, dirty: edited(clean, edits) };
}

const NAN_SPECS: readonly (readonly [string, Partial<RouteSpec>])[] = [
  ["softmax", { score: "softmax" }],
  ["renormalized", { score: "softmax", renormalize: { epsilon: 1e-20 } }],
  ["sigmoid", { score: "sigmoid" }],
  ["groups", { score: "softmax", groups: { count: 4, topK: 2, score: "max", fill: "mask" } }],
  ["softmax-of-chosen", { score: "softmax", selectBy: "logits", weight: "softmaxOfChosen" }],
];

const nans: readonly ConformanceCase[] = [
  ...NAN_SPECS.map(([id, part]) =>
    levelCase(
      "L1",
      `route/nan-no-bleed-${id}`,
      "NaN in one token's logits changes no bit of another token's routing",
      ROUTE_OPS,
      async (test) => {
        const spec: RouteSpec = { experts: EXPERTS, topK: 3, score: "softmax", ...part };
        const { clean, dirty } = spoilt(test, [0, 7]);
        const pure = await test.observe({ logits: clean }, routeProgram(spec));
        const got = await test.observe({ logits: dirty }, routeProgram(spec));
        const others = upTo(TOKENS).filter((token) => token !== SPOILT);
        for (const name of ["indices", "scores", "outputWeights"] as const) {
          test.same(name, rowsOf(got[name], others).data, rowsOf(pure[name], others).data);
        }
      },
    ),
  ),
  levelCase(
    "L1",
    "route/nan-ranks-below",
    "an expert whose score is NaN is chosen after all others, and spoils no other's weight",
    ROUTE_OPS,
    async (test) => {
      await checkRoute(test, () => ({
        spec: { experts: EXPERTS, topK: 3, score: "sigmoid" },
        inputs: { logits: spoilt(test, [0, 7]).dirty },
      }));
    },
  ),
  levelCase(
    "L1",
    "route/nan-chosen-last",
    "where NaN must be chosen it comes last, and its weight is NaN",
    ROUTE_OPS,
    async (test) => {
      await checkRoute(test, () => ({
        spec: { experts: EXPERTS, topK: EXPERTS, score: "identity" },
        inputs: { logits: spoilt(test, [0, 7, 8]).dirty },
      }));
    },
  ),
  levelCase(
    "L1",
    "route/nan-softmax-token",
    "NaN in a token's logits makes all its softmax scores NaN; its experts are still distinct",
    ROUTE_OPS,
    async (test) => {
      const { got } = await checkRoute(test, () => ({
        spec: { experts: EXPERTS, topK: 3, score: "softmax" },
        inputs: { logits: spoilt(test, [7]).dirty },
      }));
      const weights = [...rowsOf(got.outputWeights, [SPOILT]).data];
      test.expect(weights.every(Number.isNaN), `its weights are [${weights}]`);
    },
  ),
  levelCase(
    "L1",
    "route/nan-not-allowed",
    "an expert that is not allowed ranks below one whose score is NaN",
    ROUTE_OPS,
    async (test) => {
      await checkRoute(test, () => ({
        spec: { experts: EXPERTS, topK: 3, score: "sigmoid" },
        inputs: {
          logits: spoilt(test, [0, 7]).dirty,
          allowed: generated([TOKENS, EXPERTS], "bool", (at) =>
            at % EXPERTS < 2 || at % EXPERTS === 7 ? 1 : 0,
          ),
        },
      }));
    },
  ),
];

/** Routing at the edges of the floats. */
export const routeEdgeCases: readonly ConformanceCase[] = [...large, ...close, ...nans];

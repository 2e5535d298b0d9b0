import {
  type AnyOp,
  type AttentionAttributes,
  type RouteSpec,
  type Tensor,
  cast,
  concat,
  crossEntropy,
  groupedMatmulGradWeights,
  logSumExp,
  putAlong,
  rmsNorm,
  rope,
  routeTopK,
  segmentSum,
  softmax,
  takeAlong,
  topK,
  transpose,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { generated, hostTensor } from "../host-tensor.ts";
import { gradientCase, gradientsHold } from "./grad-support.ts";
import {
  BANKS,
  type Bank,
  FFN_OPS,
  type FfnShape,
  USUAL,
  ffn,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { mapped, present } from "./l3-support.ts";
import {
  ATTENTION_OPS,
  SINK_OPS,
  type AttentionShape,
  type AttentionTensors,
  attend,
  attentionHosts,
} from "./l4-attention.ts";
import { LAYER_OPS } from "./l4-layer-support.ts";
import { LOSS_OPS, NORM_OPS, ROPE_OPS, tableFor } from "./l4-model.ts";

const rows: readonly ConformanceCase[] = [
  gradientCase(
    "L1",
    "softmax",
    "the gradient of softmax, masked and not",
    LOSS_OPS,
    async (test) => {
      const mask = generated([6, 9], "bool", (index) => (index % 4 === 1 ? 0 : 1));
      await gradientsHold(test, { x: test.random.normal([6, 9]), mask }, ["x"], (given) => [
        softmax(given.x),
        softmax(given.x, given.mask),
      ]);
    },
  ),
  gradientCase("L1", "log-sum-exp", "the gradient of logSumExp is softmax", LOSS_OPS, (test) =>
    gradientsHold(test, { x: test.random.normal([6, 33]) }, ["x"], ({ x }) => logSumExp(x)),
  ),
  gradientCase("L4", "rms-norm", "rows and weight of rmsNorm", NORM_OPS, async (test) => {
    for (const shape of [
      [5, 17],
      [2, 3, 64],
      [1, 5],
      [130, 7],
    ]) {
      const inputs = {
        x: test.random.normal(shape),
        weight: test.random.normal([shape.at(-1) ?? 1]),
      };
      await gradientsHold(test, inputs, ["x", "weight"], ({ x, weight }) =>
        rmsNorm(x, weight, { epsilon: 1e-5 }),
      );
    }
  }),
  ...[false, true].map((interleaved) =>
    gradientCase(
      "L4",
      `rope-${interleaved ? "interleaved" : "halves"}`,
      "the gradient of a turn is the inverse turn",
      [...ROPE_OPS, writeSlice],
      (test) =>
        gradientsHold(
          test,
          { x: test.random.normal([7, 2, 9]) },
          ["x"],
          ({ x }, { backend, float }) => {
            const { cos, sin } = tableFor(backend, float, [0, 1, 2, 3, 40, 41, 999], 4);
            return [
              rope(x, cos, sin, { interleaved }),
              rope(x, cos, sin, { interleaved, inverse: true }),
            ];
          },
        ),
    ),
  ),
  gradientCase(
    "L4",
    "cross-entropy",
    "softmax less the target, and 0 in ignored rows",
    [...LOSS_OPS, putAlong],
    async (test) => {
      const inputs = {
        logits: test.random.normal([6, 40]),
        targets: hostTensor([3, -100, 39, 0, 40, 7], "i32"),
      };
      await gradientsHold(test, inputs, ["logits"], ({ logits, targets }) =>
        crossEntropy(logits, targets),
      );
    },
  ),
];

const SOME = { batch: 2, queries: 6, keys: 6, heads: 4, keyHeads: 2, width: 5 } as const;
const hidden = generated([2, 6], "bool", (index) => (index % 6 < 2 || index === 10 ? 0 : 1));

const ATTENTIONS: readonly (readonly [
  string,
  AttentionShape,
  Partial<AttentionAttributes> & { readonly masked?: boolean; readonly withSinks?: boolean },
])[] = [
  ["all-keys", SOME, {}],
  ["causal", SOME, { causal: true }],
  ["position", { ...SOME, queries: 3, keys: 9 }, { causal: true, position: 4 }],
  ["value-width", { ...SOME, valueWidth: 8, keyHeads: 1 }, { causal: true }],
  ["mask", SOME, { masked: true }],
  ["nothing-seen", SOME, { masked: true, causal: true }],
  ["window", SOME, { causal: true, window: 3 }],
  ["window-position", { ...SOME, queries: 3, keys: 30 }, { causal: true, position: 24, window: 6 }],
  [
    "window-long",
    { ...SOME, batch: 1, queries: 65, keys: 97, width: 16 },
    { causal: true, position: 32, window: 33 },
  ],
  ["sinks", SOME, { withSinks: true }],
  ["sinks-window", { ...SOME, valueWidth: 8 }, { causal: true, window: 4, withSinks: true }],
  ["sinks-nothing-seen", SOME, { masked: true, causal: true, withSinks: true }],
  ["long", { ...SOME, batch: 1, queries: 33, keys: 65, width: 16 }, { causal: true, position: 32 }],
];

const attentions = ATTENTIONS.map(([what, shape, { masked, withSinks, ...attributes }]) =>
  gradientCase(
    "L4",
    `attention-${what}`,
    `what goes into an attention (${what}) gets its gradient`,
    [...(withSinks ? SINK_OPS : ATTENTION_OPS), writeSlice],
    async (test) => {
      const hosts = attentionHosts(test, shape, {
        ...(masked && { mask: hidden }),
        ...(withSinks && { sinks: test.random.normal([shape.heads]) }),
      });
      // A query that sees one key alone has a gradient of 0, with no digits to judge it by.
      const options = { ambiguous: attributes.causal ? 0.2 : 0.02 };
      const body = (given: AttentionTensors): Tensor => attend(given, attributes);
      const wrt = ["q", "k", "v", ...(withSinks ? (["sinks"] as const) : [])] as const;
      await gradientsHold(test, hosts, wrt, body, options);
    },
  ),
);

type Spec = Omit<RouteSpec, "capacity" | "site" | "experts">;

const ROUTES: Readonly<Record<string, Partial<Spec>>> = {
  softmax: {},
  sigmoid: { score: "sigmoid" },
  "sqrt-softplus": { score: "sqrtSoftplus" },
  identity: { score: "identity" },
  renormalized: { renormalize: {} },
  "renormalized-epsilon": { score: "sigmoid", renormalize: { epsilon: 0.25 }, scale: 2.5 },
  "renormalized-norm": { score: "sigmoid", renormalize: { p: 2, epsilon: 1e-6, guard: "max" } },
  "softmax-of-chosen": { score: "identity", weight: "softmaxOfChosen" },
  "sigmoid-of-chosen": { score: "identity", weight: "sigmoidOfChosen", topK: 1 },
  softcap: { softcap: 1.5, temperature: 0.7 },
  "all-experts": { topK: 8, renormalize: {} },
};

/** The ops of `routeTopK` where it and its gradient are taken apart. */
export const ROUTE_OPS: readonly AnyOp[] = [...LOSS_OPS, topK, takeAlong, putAlong];

const routes = Object.entries(ROUTES).map(([what, spec]) =>
  gradientCase(
    "L1",
    `route-top-k-${what}`,
    `gradients reach logits through scores and weights (${what}), the choice held fixed`,
    ROUTE_OPS,
    async (test) => {
      const full = { topK: 2, score: "softmax", ...spec } as const;
      await gradientsHold(test, { logits: test.random.normal([17, 8]) }, ["logits"], (given) => {
        const [scores, , weights] = routeTopK(given.logits, undefined, undefined, full);
        return [scores, weights];
      });
      await gradientsHold(test, { logits: test.random.normal([9, 8]) }, ["logits"], (given) => {
        const [, , weights] = routeTopK(given.logits, undefined, undefined, full);
        return weights;
      });
    },
  ),
);

/** The ops of an expert path and its gradient where they are taken apart. */
export const FFN_GRADIENT_OPS: readonly AnyOp[] = [
  ...FFN_OPS,
  groupedMatmulGradWeights,
  segmentSum,
  writeSlice,
];

const SHAPE: FfnShape = { tokens: 9, experts: 4, topK: 2, input: 8, inner: 5, output: 7 };

/** Gradients of an expert path with respect to all that is float. */
async function ffnGradients(
  test: CaseContext,
  hosts: ReturnType<typeof ffnHosts>,
  { descriptor }: Bank,
): Promise<void> {
  const wrt = Object.entries(present(hosts)).flatMap(([name, { dtype }]) =>
    dtype === "f32" ? [name as keyof typeof hosts] : [],
  );
  await gradientsHold(test, hosts, wrt, (given) => ffn(given, descriptor));
}

const banks = Object.entries(BANKS).map(([name, bank]) =>
  gradientCase(
    "L3",
    `moe-ffn-${name}`,
    `a ${name} bank gives inputs, weights, factors and biases their gradient`,
    FFN_GRADIENT_OPS,
    (test) => ffnGradients(test, ffnHosts(test, bank, SHAPE), bank),
  ),
);

const shapeCase = (what: string, demand: string, shape: Partial<FfnShape>): ConformanceCase =>
  gradientCase("L3", `moe-ffn-${what}`, demand, FFN_GRADIENT_OPS, (test) =>
    ffnGradients(test, ffnHosts(test, USUAL, { ...SHAPE, ...shape }), USUAL),
  );

const shapes: readonly ConformanceCase[] = [
  ...[0, 1, 2, 33, 130].map((tokens) =>
    shapeCase(`tokens-${tokens}`, `gradients of ${tokens} tokens`, { tokens }),
  ),
  ...[31, 33, 65].map((size) =>
    shapeCase(`width-${size}`, `gradients at widths of ${size} keep their last tile`, {
      input: size,
      inner: size + 2,
      output: size - 2,
    }),
  ),
  shapeCase("all-experts", "every expert chosen: k = E", { topK: 4 }),
  shapeCase("one-token-each", "far more experts than tokens", { experts: 64, tokens: 5 }),
  gradientCase(
    "L3",
    "moe-ffn-no-expert",
    "index E gives its weight and its token no gradient",
    FFN_GRADIENT_OPS,
    async (test) => {
      const bank = BANKS["input-weights-biases"] ?? USUAL;
      const hosts = ffnHosts(test, bank, { ...SHAPE, tokens: 21 });
      const indices = mapped(hosts.indices, (expert, place) => (place % 3 === 0 ? 4 : expert));
      await ffnGradients(test, { ...hosts, indices }, bank);
    },
  ),
  gradientCase(
    "L3",
    "moe-ffn-one-expert",
    "all tokens choose one expert",
    FFN_GRADIENT_OPS,
    async (test) => {
      const hosts = ffnHosts(test, USUAL, { ...SHAPE, tokens: 70 });
      await ffnGradients(test, { ...hosts, indices: mapped(hosts.indices, () => 2) }, USUAL);
    },
  ),
];

/** Ops that a whole layer and its gradient need where they are taken apart. */
export const LAYER_GRADIENT_OPS: readonly AnyOp[] = [
  ...LAYER_OPS,
  ...ROUTE_OPS,
  ...FFN_GRADIENT_OPS,
  cast,
  concat,
  transpose,
];

/** Gradients of ops that may be fused. */
export const fusedGradientCases: readonly ConformanceCase[] = [
  ...rows,
  ...attentions,
  ...routes,
  ...banks,
  ...shapes,
];

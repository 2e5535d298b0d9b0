import {
  type AnyOp,
  type AttentionAttributes,
  type Attributes,
  type FfnDescriptor,
  type Tensor,
  add,
  attention,
  attentionBackward,
  crossEntropy,
  crossEntropyBackward,
  dispatch,
  gather,
  gatherRows,
  groupedMatmul,
  logSumExp,
  mean,
  moeFfn,
  moeFfnBackward,
  planChoices,
  rmsNorm,
  rmsNormBackward,
  routeTopK,
  routeTopKBackward,
  rsqrt,
  square,
} from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { hostTensor } from "../host-tensor.ts";
import { logSumExpOf } from "./attention-residual.ts";
import { type FusedSample, callAny, claims, requireKernel } from "./extension-fused.ts";
import { FFN_GRADIENT_OPS, LAYER_GRADIENT_OPS, ROUTE_OPS } from "./grad-fused.ts";
import { GRADIENT_OPS, gradients } from "./grad-support.ts";
import { BANKS, type FfnTensors, choices, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { type Hosts, type Uploaded, caseOf, holds } from "./l3-support.ts";
import { ATTENTION_OPS, attend, attentionHosts } from "./l4-attention.ts";
import { LOSS_OPS, NORM_OPS } from "./l4-model.ts";

/** A fused backward: called directly on residuals by the book, and under `valueAndGrad`. */
interface BackwardSample<H extends Hosts> extends FusedSample<H> {
  /** The op whose backward it is. */
  readonly forward: AnyOp;
  readonly wrt: readonly (keyof H & string)[];
  /** The forward call. */
  run(given: Uploaded<H>): Tensor | readonly Tensor[];
}

function backwardCase<H extends Hosts>(sample: BackwardSample<H>): ConformanceCase {
  const { level, op, what, ops, forward, wrt, hosts, call, run: body } = sample;
  return caseOf(level, `fused/${op.name}${what === undefined ? "" : `-${what}`}`, {
    demand: `the fused ${op.name} gives what its decomposition gives, also as the gradient of ${forward.name}`,
    extension: "fused",
    ops: [...GRADIENT_OPS, ...ops],
    unsupported: claims(forward, op),
    async run(test) {
      const inputs = hosts(test);
      const options = { ambiguous: 0.2 };
      await holds(
        test,
        inputs,
        (given, run) => {
          const outputs = callAny(op, call(given, run));
          return Object.fromEntries(outputs.map((output, index) => [`kernel ${index}`, output]));
        },
        options,
      );
      test.backend.resetRecord();
      await holds(test, inputs, gradients<H>(wrt, body), { outputs: wrt, ...options });
      requireKernel(test, forward);
      requireKernel(test, op);
    },
  });
}

/** The up projection's output in rows sorted by expert, before the activation. */
export function hiddenOf(given: FfnTensors, descriptor: FfnDescriptor): Tensor {
  const { x, indices, up, upBias, inputWeights } = given;
  const rows = dispatch(x, planChoices(indices, up.shape[0] ?? 0), inputWeights);
  const { transposed = false } = descriptor;
  const hidden = groupedMatmul(gather(rows), up, rows.offsets, undefined, { transposed });
  return upBias ? add(hidden, gatherRows(upBias, rows.group)) : hidden;
}

const attentions: readonly (readonly [string, AttentionAttributes, withSinks: boolean])[] = [
  ["all-keys", { causal: false, position: 0, scale: 0.25 }, false],
  ["causal", { causal: true, position: 4, scale: 0.25 }, false],
  ["window", { causal: true, position: 4, scale: 0.25, window: 3 }, false],
  ["sinks", { causal: true, position: 4, scale: 0.25 }, true],
];

const rows: readonly ConformanceCase[] = [
  backwardCase({
    level: "L4",
    op: rmsNormBackward,
    forward: rmsNorm,
    ops: NORM_OPS,
    wrt: ["x", "weight"],
    hosts: ({ random }) => ({
      x: random.normal([33, 20]),
      weight: random.normal([20]),
      gradient: random.normal([33, 20]),
    }),
    call: ({ x, weight, gradient }) => ({
      inputs: [x, weight, rsqrt(add(mean(square(x), [-1], true), 1e-5)), gradient],
      attributes: { epsilon: 1e-5 },
    }),
    run: ({ x, weight }) => rmsNorm(x, weight, { epsilon: 1e-5 }),
  }),
  backwardCase({
    level: "L4",
    op: crossEntropyBackward,
    forward: crossEntropy,
    ops: LAYER_GRADIENT_OPS,
    wrt: ["logits"],
    hosts: ({ random }) => ({
      logits: random.normal([5, 130]),
      targets: hostTensor([0, 129, -100, 130, 64], "i32"),
      gradient: random.normal([5]),
    }),
    call: ({ logits, targets, gradient }) => ({
      inputs: [logits, targets, logSumExp(logits), gradient],
    }),
    run: ({ logits, targets }) => crossEntropy(logits, targets),
  }),
  ...attentions.map(([what, attributes, withSinks]) =>
    backwardCase({
      level: "L4",
      op: attentionBackward,
      what,
      forward: attention,
      ops: [...ATTENTION_OPS, ...LOSS_OPS, ...LAYER_GRADIENT_OPS],
      wrt: ["q", "k", "v", ...(withSinks ? (["sinks"] as const) : [])],
      hosts: (test) => ({
        ...attentionHosts(
          test,
          { batch: 2, queries: 6, keys: 10, heads: 4, keyHeads: 2, width: 8 },
          withSinks ? { sinks: test.random.normal([4]) } : {},
        ),
        gradient: test.random.normal([2, 6, 4, 8]),
      }),
      call: (given) => ({
        inputs: [
          given.q,
          given.k,
          given.v,
          attend(given, attributes),
          logSumExpOf(given, attributes),
          given.gradient,
          undefined,
          given.sinks,
        ],
        attributes: { ...attributes },
      }),
      run: (given) => attend(given, attributes),
    }),
  ),
];

const ROUTES: Readonly<Record<string, Attributes>> = {
  softmax: { topK: 2, score: "softmax", renormalize: {} },
  sigmoid: { topK: 2, score: "sigmoid", renormalize: { epsilon: 1e-6 }, scale: 2.5 },
  "sqrt-softplus": { topK: 2, score: "sqrtSoftplus" },
  "softmax-of-chosen": { topK: 2, score: "identity", weight: "softmaxOfChosen", softcap: 5 },
};

const choosing: readonly ConformanceCase[] = [
  ...Object.entries(ROUTES).map(([what, attributes]) =>
    backwardCase({
      level: "L1",
      op: routeTopKBackward,
      what,
      forward: routeTopK,
      ops: ROUTE_OPS,
      wrt: ["logits"],
      hosts: ({ random }) => ({
        logits: random.normal([17, 6]),
        indices: choices(random, { tokens: 17, experts: 6, topK: 2 }),
        scores: random.normal([17, 6]),
        weights: random.normal([17, 2]),
      }),
      call: ({ logits, indices, scores, weights }) => ({
        inputs: [logits, indices, scores, weights],
        attributes,
      }),
      run({ logits }) {
        const [scores, , weights] = callAny(routeTopK, {
          inputs: [logits, undefined, undefined],
          attributes,
        });
        return [scores as Tensor, weights as Tensor];
      },
    }),
  ),
  ...Object.entries(BANKS).map(([what, bank]) =>
    backwardCase({
      level: "L3",
      op: moeFfnBackward,
      what,
      forward: moeFfn,
      ops: FFN_GRADIENT_OPS,
      wrt: ["x", "outputWeights", "up", "down"],
      hosts: (test) => ({
        ...ffnHosts(test, bank, {
          tokens: 19,
          experts: 5,
          topK: 2,
          input: 12,
          inner: 7,
          output: 10,
        }),
        gradient: test.random.normal([19, 10]),
      }),
      call: (given) => ({
        inputs: [
          given.gradient,
          hiddenOf(given, bank.descriptor),
          given.x,
          given.indices,
          given.outputWeights,
          given.up,
          given.down,
          given.upBias,
          given.downBias,
          given.inputWeights,
        ],
        attributes: { descriptor: bank.descriptor as unknown as Attributes },
      }),
      run: (given) => ffn(given, bank.descriptor),
    }),
  ),
];

/** Fused backward kernels against their decompositions. */
export const fusedBackwardCases: readonly ConformanceCase[] = [...rows, ...choosing];

import {
  type AnyOp,
  type AttentionAttributes,
  type Attributes,
  type Tensor,
  adamW,
  attention,
  broadcast,
  crossEntropy,
  fill,
  linear,
  logSumExp,
  matmul,
  moeFfn,
  rmsNorm,
  rope,
  roundBlocks,
  routeTopK,
  softmax,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level, ProgramRun } from "../case.ts";
import { generated, hostTensor } from "../host-tensor.ts";
import { BANKS, FFN_OPS, ffnHosts } from "./l3-ffn-support.ts";
import { type Hosts, type Uploaded, caseOf, constant, holds } from "./l3-support.ts";
import { ATTENTION_OPS, SINK_OPS, attentionHosts } from "./l4-attention.ts";
import { LOSS_OPS, NORM_OPS, ROPE_OPS, tableFor } from "./l4-model.ts";
import { ROUTE_OPS } from "./grad-fused.ts";
import { ROUND_OPS, stepped } from "./rounded-support.ts";

/** One call of an op. */
export interface Call {
  readonly inputs: readonly (Tensor | undefined)[];
  readonly attributes?: Attributes | undefined;
}

/** A fused op in a case. */
export interface FusedSample<H extends Hosts> {
  readonly level: Level;
  readonly op: AnyOp;
  /** Behind the op's name in the id, where it has several cases. */
  readonly what?: string | undefined;
  /** The required ops of its parts. */
  readonly ops: readonly AnyOp[];
  hosts(test: CaseContext): H;
  call(given: Uploaded<H>, run: ProgramRun): Call;
}

/** Calls an op whatever its types; its outputs in order. */
export function callAny(op: AnyOp, { inputs, attributes }: Call): readonly Tensor[] {
  const run = op as unknown as (...args: unknown[]) => Tensor | readonly Tensor[];
  const result = run(...inputs, attributes ?? {});
  return Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
}

/** What must be claimed for a case of fused ops. */
export function claims(...ops: readonly AnyOp[]): NonNullable<ConformanceCase["unsupported"]> {
  return (capabilities) => {
    const missing = ops.filter(({ name }) => !capabilities.ops.includes(name));
    const names = missing.map(({ name }) => name).join(", ");
    return missing.length === 0 ? undefined : `the manifest has no fused kernel of ${names}`;
  };
}

/** Fails the case unless the op ran as a kernel, and never in parts. */
export function requireKernel(test: CaseContext, { name }: AnyOp): void {
  const entry = test.backend.record()[name];
  test.expect((entry?.kernel ?? 0) > 0, `${name} is claimed but never ran as a kernel`);
  test.expect((entry?.decomposed ?? 0) === 0, `${name} is claimed but was taken apart`);
}

const outputsAs = (prefix: string, outputs: readonly Tensor[]): [string, Tensor][] =>
  outputs.map((output, index) => [`${prefix} ${index}`, output]);

/** A fused kernel, and beside it its parts on the same backend: both within the bounds of the parts. */
function fusedCase<H extends Hosts>(sample: FusedSample<H>): ConformanceCase {
  const { level, op, what, ops, hosts, call } = sample;
  return caseOf(level, `fused/${op.name}${what === undefined ? "" : `-${what}`}`, {
    demand: `the fused ${op.name} gives what its decomposition gives`,
    extension: "fused",
    ops,
    unsupported: claims(op),
    async run(test) {
      await holds(
        test,
        hosts(test),
        (given, run) => {
          const parts = call(given, run);
          const { inputs, attributes = {} } = parts;
          return Object.fromEntries([
            ...outputsAs("kernel", callAny(op, parts)),
            ...outputsAs("parts", op.definition.decompose?.(inputs, attributes) ?? []),
          ]);
        },
        { ambiguous: 0.1 },
      );
      requireKernel(test, op);
    },
  });
}

const rows: readonly ConformanceCase[] = [
  fusedCase({
    level: "L1",
    op: softmax,
    ops: LOSS_OPS,
    hosts: ({ random }) => ({ x: random.normal([9, 65]) }),
    call: ({ x }) => ({ inputs: [x, undefined] }),
  }),
  fusedCase({
    level: "L1",
    op: softmax,
    what: "masked",
    ops: LOSS_OPS,
    hosts: ({ random }) => ({
      x: random.normal([3, 9, 33]),
      mask: generated([9, 33], "bool", (index) => (index < 33 || index % 3 === 0 ? 0 : 1)),
    }),
    call: ({ x, mask }) => ({ inputs: [x, mask] }),
  }),
  fusedCase({
    level: "L1",
    op: logSumExp,
    ops: LOSS_OPS,
    hosts: ({ random }) => ({ x: random.normal([7, 129]) }),
    call: ({ x }) => ({ inputs: [x] }),
  }),
  fusedCase({
    level: "L3",
    op: linear,
    ops: [matmul],
    hosts: ({ random }) => ({ x: random.normal([33, 65]), weight: random.normal([41, 65], 0.125) }),
    call: ({ x, weight }) => ({ inputs: [x, weight, undefined] }),
  }),
  fusedCase({
    level: "L3",
    op: roundBlocks,
    ops: ROUND_OPS,
    hosts: ({ random }) => ({ x: stepped(random, [9, 96]) }),
    call: ({ x }) => ({ inputs: [x] }),
  }),
  fusedCase({
    level: "L4",
    op: rmsNorm,
    ops: NORM_OPS,
    hosts: ({ random }) => ({ x: random.normal([7, 65]), weight: random.normal([65]) }),
    call: ({ x, weight }) => ({ inputs: [x, weight], attributes: { epsilon: 1e-5 } }),
  }),
  ...[false, true].map((interleaved) =>
    fusedCase({
      level: "L4",
      op: rope,
      what: interleaved ? "interleaved" : "halves",
      ops: ROPE_OPS,
      hosts: ({ random }) => ({ x: random.normal([2, 5, 3, 10]) }),
      call({ x }, { backend, float }) {
        const { cos, sin } = tableFor(backend, float, [0, 1, 2, 30, 31], 4);
        return { inputs: [x, cos, sin], attributes: { interleaved } };
      },
    }),
  ),
  fusedCase({
    level: "L4",
    op: crossEntropy,
    ops: LOSS_OPS,
    hosts: ({ random }) => ({
      logits: random.normal([6, 300]),
      targets: hostTensor([0, 299, -100, 300, 7, 150], "i32"),
    }),
    call: ({ logits, targets }) => ({ inputs: [logits, targets] }),
  }),
  fusedCase({
    level: "L4",
    op: adamW,
    ops: NORM_OPS,
    hosts: ({ random }) => ({
      parameter: random.normal([33, 5]),
      gradient: random.normal([33, 5]),
      first: random.normal([33, 5], 0.1),
      second: random.uniform([33, 5], 0.01, 1),
    }),
    call: ({ parameter, gradient, first, second }) => ({
      inputs: [parameter, gradient, first, second],
      attributes: {
        learningRate: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weightDecay: 0.1,
        step: 7,
      },
    }),
  }),
];

const attentions: readonly (readonly [
  string,
  Omit<AttentionAttributes, "scale">,
  { readonly masked?: boolean; readonly withSinks?: boolean },
])[] = [
  ["all-keys", { causal: false, position: 0 }, {}],
  ["causal", { causal: true, position: 8 }, {}],
  ["masked", { causal: true, position: 8 }, { masked: true }],
  ["window", { causal: true, position: 8, window: 5 }, {}],
  ["sinks", { causal: true, position: 8 }, { withSinks: true }],
];

const ROUTES: Readonly<Record<string, Attributes>> = {
  softmax: { topK: 2, score: "softmax", renormalize: {} },
  sigmoid: {
    topK: 3,
    score: "sigmoid",
    renormalize: { epsilon: 1e-6 },
    scale: 2.5,
    selectBy: "logits",
  },
  "sqrt-softplus": { topK: 2, score: "sqrtSoftplus", selectBy: "logits" },
  "softmax-of-chosen": { topK: 4, score: "identity", weight: "softmaxOfChosen", softcap: 30 },
  groups: {
    topK: 2,
    score: "sigmoid",
    selectBy: "logits",
    groups: { count: 4, topK: 2, score: { top: 2 }, fill: "mask" },
  },
};

const choosing: readonly ConformanceCase[] = [
  ...attentions.map(([what, attributes, { masked, withSinks }]) =>
    fusedCase({
      level: "L4",
      op: attention,
      what,
      ops: withSinks ? SINK_OPS : ATTENTION_OPS,
      hosts: (test) =>
        attentionHosts(
          test,
          { batch: 2, queries: 9, keys: 17, heads: 4, keyHeads: 2, width: 16 },
          {
            ...(masked && { mask: generated([2, 17], "bool", (at) => (at % 3 === 0 ? 0 : 1)) }),
            ...(withSinks && { sinks: test.random.normal([4]) }),
          },
        ),
      call: ({ q, k, v, mask, sinks }) => ({
        inputs: [q, k, v, mask, sinks],
        attributes: { ...attributes, scale: 0.25 },
      }),
    }),
  ),
  ...Object.entries(ROUTES).map(([what, attributes]) =>
    fusedCase({
      level: "L1",
      op: routeTopK,
      what,
      ops: [...ROUTE_OPS, fill, broadcast],
      hosts: ({ random }) => ({ logits: random.normal([33, 16]), none: constant([1], 0) }),
      call: ({ logits }) => ({ inputs: [logits, undefined, undefined], attributes }),
    }),
  ),
  ...Object.entries(BANKS).map(([what, bank]) =>
    fusedCase({
      level: "L3",
      op: moeFfn,
      what,
      ops: FFN_OPS,
      hosts: (test) =>
        ffnHosts(test, bank, { tokens: 33, experts: 5, topK: 2, input: 12, inner: 7, output: 10 }),
      call: (given) => ({
        inputs: [
          given.x,
          given.indices,
          given.outputWeights,
          given.up,
          given.down,
          given.upBias,
          given.downBias,
          given.inputWeights,
          given.upScales,
          given.downScales,
        ],
        attributes: { descriptor: bank.descriptor as unknown as Attributes },
      }),
    }),
  ),
];

/** Fused forward kernels against their decompositions. */
export const fusedCases: readonly ConformanceCase[] = [...rows, ...choosing];

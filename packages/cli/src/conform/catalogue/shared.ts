import {
  type CaseContext,
  type ConformanceCase,
  type HostTensor,
  type ProgramRun,
  type Tensors,
  generated,
  gradientCase,
  layerCases,
  leavesOnHost,
  programCase,
  treesOf,
} from "@moiety/conformance";
import { type Merge, type SharedBranch, apply } from "@moiety/core";
import { type MoaLayer, attentionExperts, glu, moa, sharedExpert } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";
import { INNER, SIZES } from "./sizes.ts";

const { experts, hiddenSize, topK } = SIZES;
const router: ReturnType<typeof mixtralRouter> = mixtralRouter({
  hiddenSize,
  numLocalExperts: experts,
  numExpertsPerTok: topK,
});
const MERGES: readonly Merge[] = ["add", "average", "gate", "softmax2"];

/** Layers with a shared expert, which a dense network is, for each way in which it joins. */
export const sharedExpertCases: readonly ConformanceCase[] = MERGES.flatMap((merge) => {
  const sizes = { hiddenSize, intermediateSize: INNER, activation: "silu" } as const;
  return layerCases({
    name: `catalogue/sharedExpert-${merge}`,
    router,
    experts: glu({ ...sizes, experts }),
    shared: sharedExpert({ ...sizes, gated: true, merge }) as SharedBranch<unknown>,
  });
});

/** Sequences and their length. */
const [BATCH, LENGTH] = [2, 9];

const attending: MoaLayer<unknown, unknown> = moa({
  router,
  experts: attentionExperts({
    experts,
    hiddenSize,
    numKeyValueHeads: 2,
    headDim: 4,
    ropeTheta: 10_000,
    outputBias: true,
  }),
}) as MoaLayer<unknown, unknown>;

/** Choices are played back: the layer's attention is under test. */
async function attentionInputs(test: CaseContext): Promise<Record<string, HostTensor>> {
  const tokens = BATCH * LENGTH;
  const starts = test.random.integers([tokens], 0, experts - 1).data;
  return {
    ...(await leavesOnHost(test, attending, "layer")),
    x: test.random.normal([BATCH, LENGTH, hiddenSize]),
    mask: generated([tokens], "bool", (at) => (at === tokens - 1 ? 0 : 1)),
    selected: generated([tokens, topK], "i32", (at) => {
      const [token, choice] = [Math.floor(at / topK), at % topK];
      return ((starts[token] ?? 0) + 4 * choice) % experts;
    }),
  };
}

function attend(run: ProgramRun): Tensors {
  const { params, state } = treesOf(run, attending, "layer");
  const { x, mask, selected } = run.inputs;
  if (!x) throw new RangeError("there is no input x");
  const { output, load } = apply(attending, params, state, x, { mask, selected });
  return { output, load };
}

/** Attention whose projections are experts. */
export const attentionExpertCases: readonly ConformanceCase[] = [
  programCase({
    id: "L4/catalogue/attentionExperts",
    demand: "a layer of attention experts routes, attends and combines",
    inputs: attentionInputs,
    program: attend,
  }),
  gradientCase({
    id: "L4/grad/catalogue/attentionExperts",
    demand: "a layer of attention experts gives its input and parameters their gradients",
    inputs: attentionInputs,
    program: attend,
  }),
];

import type { RouteSpec } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { type RouteAnswer, checkWeights, routeProgram } from "./l1-route-check.ts";
import {
  ROUTE_OPS,
  columnsOf,
  distinctLogits,
  exactly,
  levelCase,
  rowsOf,
  sameIds,
  upTo,
} from "./l1-support.ts";

const SPEC: RouteSpec = { experts: 33, topK: 4, score: "softmax", renormalize: {} };
const TOKENS = 17;

function law(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return levelCase("L1", `route/law-${id}`, demand, ROUTE_OPS, run);
}

async function answer(
  test: CaseContext,
  logits: HostTensor,
  spec: RouteSpec = SPEC,
): Promise<RouteAnswer> {
  const inputs = { logits };
  return { spec, inputs, got: await test.observe(inputs, routeProgram(spec)) };
}

/** Holds an answer's ids to those wanted, and its weights to the reference's. */
async function checkAnswer(
  test: CaseContext,
  one: RouteAnswer,
  indices: HostTensor,
): Promise<void> {
  sameIds(test, "indices", one.got.indices, exactly(indices));
  await checkWeights(test, one, exactly(indices));
}

/** Routing against itself. */
export const routeLawCases: readonly ConformanceCase[] = [
  law("permute-tokens", "permuting the tokens permutes ids and weights alike", async (test) => {
    const logits = distinctLogits(test.random, TOKENS, 33);
    const order = [...test.random.permutation(TOKENS).data];
    const [straight, permuted] = [
      await answer(test, logits),
      await answer(test, rowsOf(logits, order)),
    ];
    const wanted = rowsOf(straight.got.indices, order);
    const weights = rowsOf(straight.got.outputWeights, order);
    await checkAnswer(test, permuted, wanted);
    if (test.capabilities.determinism !== "bitwise") return;
    test.same("outputWeights", permuted.got.outputWeights.data, weights.data);
  }),
  law(
    "relabel-experts",
    "renaming the experts renames the ids and leaves the weights, where nothing ties",
    async (test) => {
      const logits = distinctLogits(test.random, TOKENS, 33);
      const order = [...test.random.permutation(33).data];
      const [straight, renamed] = [
        await answer(test, logits),
        await answer(test, columnsOf(logits, order)),
      ];
      const { indices } = straight.got;
      const wanted = generated(indices.shape, "i32", (at) => order.indexOf(indices.data[at] ?? 0));
      await checkAnswer(test, renamed, wanted);
    },
  ),
  law("shift", "adding one number to a token's logits leaves its softmax choice", async (test) => {
    const logits = distinctLogits(test.random, TOKENS, 33);
    const shifts = test.random.integers([TOKENS], -64, 64);
    const shifted = generated(logits.shape, "f32", (at) => {
      const shift = shifts.data[Math.floor(at / 33)] ?? 0;
      return (logits.data[at] ?? 0) + shift;
    });
    const straight = await answer(test, logits);
    await checkAnswer(test, await answer(test, shifted), straight.got.indices);
  }),
  law("split-batch", "a batch that is split is routed like the whole batch", async (test) => {
    const logits = distinctLogits(test.random, TOKENS, 33);
    const whole = await answer(test, logits);
    for (const part of [upTo(5), [5], upTo(TOKENS).slice(6)]) {
      const piece = await answer(test, rowsOf(logits, part));
      await checkAnswer(test, piece, rowsOf(whole.got.indices, part));
      if (!test.capabilities.batchInvariant) continue;
      const weights = rowsOf(whole.got.outputWeights, part);
      test.same("outputWeights", piece.got.outputWeights.data, weights.data);
    }
  }),
  law(
    "softmax-then-top-k",
    "the chosen of a softmax, renormalised, weigh as a softmax of the chosen logits",
    async (test) => {
      const logits = distinctLogits(test.random, TOKENS, 33);
      const first = await answer(test, logits);
      const spec: RouteSpec = {
        ...SPEC,
        renormalize: undefined,
        selectBy: "logits",
        weight: "softmaxOfChosen",
      };
      const second = await answer(test, logits, spec);
      await checkAnswer(test, second, first.got.indices);
      await checkWeights(test, { ...first, got: second.got }, exactly(first.got.indices));
    },
  ),
  law("scale-by-2", "a scale of 2 doubles the weights to the bit", async (test) => {
    const logits = distinctLogits(test.random, TOKENS, 33);
    const single = await answer(test, logits);
    const double = await answer(test, logits, { ...SPEC, scale: 2 });
    const twice = single.got.outputWeights.data.map((weight) => 2 * weight);
    test.same("outputWeights", double.got.outputWeights.data, twice);
  }),
];

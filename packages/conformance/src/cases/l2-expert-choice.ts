import {
  type ExpertChoice,
  type Tensor,
  cast,
  combine,
  compare,
  dispatch,
  gather,
  gatherRows,
  groupRows,
  binary,
  iota,
  loadOf,
  plan,
  reduce,
  segmentSum,
  softmax,
  topK,
  transpose,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Program } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { SOFTMAX_OPS, distinctLogits, edited, exactly, sameIds, upTo } from "./l1-support.ts";
import { planOutputs } from "./l2-plan.ts";
import { dyadicWeights, permuteCase } from "./l2-support.ts";

const OPS = [iota, binary, transpose, groupRows, gatherRows, segmentSum, compare, cast, reduce];

function choiceCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  const ops = [...OPS, topK, ...SOFTMAX_OPS];
  return permuteCase(`expert-choice/${id}`, demand, ops, run, { extension: "expert-choice" });
}

/** What the experts chose, on the host. */
type Chosen = {
  /** `[G, E, C]` i32. */
  readonly tokens: HostTensor;
  /** `[G, E, C]`. */
  readonly weights: HostTensor;
  /** `[T, H]`. */
  readonly x: HostTensor;
};

/** A routing by experts; logits are the tokens' rows, of which only their number counts. */
function routingOf(tokens: Tensor, weights: Tensor, x: Tensor): ExpertChoice {
  const experts = tokens.shape[1] ?? 0;
  return { kind: "expert-choice", experts, logits: x, scores: x, tokens, weights };
}

/**
 * Every expert of G groups takes C distinct tokens of its group (of an odd number of at least 2C − 1);
 * a part of the places is empty.
 */
function draw(
  test: CaseContext,
  [groups, experts, places]: readonly [number, number, number],
  tokensPerGroup: number,
  width: number,
): Chosen {
  const count = groups * tokensPerGroup;
  const starts = test.random.integers([groups, experts], 0, tokensPerGroup - 1);
  const empty = test.random.bools([groups, experts, places], 0.2);
  const tokens = generated([groups, experts, places], "i32", (at) => {
    const lane = Math.floor(at / places);
    const group = Math.floor(lane / experts);
    const inside = ((starts.data[lane] ?? 0) + 2 * (at % places)) % tokensPerGroup;
    return empty.data[at] === 1 ? count : group * tokensPerGroup + inside;
  });
  return {
    tokens,
    weights: dyadicWeights(test, tokens.shape),
    x: test.random.dyadic([count, width]),
  };
}

/** Tokens to rows and back. */
const identity: Program<Chosen, { readonly rows: Tensor; readonly y: Tensor }> = ({
  inputs: { tokens, weights, x },
}) => {
  const sorted = plan(routingOf(tokens, weights, x));
  const rows = gather(dispatch(x, sorted));
  return { rows, y: combine(rows, sorted, weights) };
};

/** Σ weights · x over the places that took each token. */
function expectedSums({ tokens, weights, x }: Chosen): Float64Array {
  const width = x.shape[1] ?? 0;
  const sums = new Float64Array(x.data.length);
  for (const [place, token] of [...tokens.data].entries()) {
    for (let column = 0; column < width; column++) {
      const at = token * width + column;
      if (at < sums.length)
        sums[at] = (sums[at] ?? 0) + (weights.data[place] ?? 0) * (x.data[at] ?? 0);
    }
  }
  return sums;
}

async function checkIdentity(test: CaseContext, chosen: Chosen): Promise<void> {
  await test.compare(chosen, identity);
  const { y } = await test.observe(chosen, identity);
  const sums = expectedSums(chosen);
  const at = sums.findIndex((sum, index) => sum !== y.data[index]);
  test.expect(at < 0, `element ${at} is ${y.data[at]} instead of ${sums[at]}`);
}

/** Experts that choose their tokens. */
export const expertChoiceCases: readonly ConformanceCase[] = [
  choiceCase(
    "select",
    "each expert takes its C best tokens, ties to the earlier token",
    async (test) => {
      const logits = distinctLogits(test.random, 33, 8);
      const tied = edited(
        logits,
        upTo(8).map((expert) => [expert, logits.data[8 + expert] ?? 0]),
      );
      await test.compare({ logits: tied }, ({ inputs: { logits } }) => {
        const [values, indices] = topK(transpose(logits, { permutation: [1, 0] }), undefined, {
          k: 9,
        });
        return { values, indices };
      });
    },
  ),
  choiceCase(
    "select-scores",
    "experts choose by scores over the experts of each token",
    async (test) => {
      // Few tokens far apart in score, so that rounding cannot turn their order.
      const steps = test.random.permutation(9);
      const logits = generated([9, 4], "f32", (at) => {
        const [token, expert] = [Math.floor(at / 4), at % 4];
        return expert === (steps.data[token] ?? 0) % 4 ? (steps.data[token] ?? 0) / 2 : 0;
      });
      const choose: Program<{ readonly logits: HostTensor }, { readonly indices: Tensor }> = ({
        inputs: { logits },
      }) => {
        const scores = transpose(softmax(logits), { permutation: [1, 0] });
        return { indices: topK(scores, undefined, { k: 2 })[1] };
      };
      const [wanted, got] = [
        await test.reference({ logits }, choose),
        await test.observe({ logits }, choose),
      ];
      sameIds(test, "indices", got.indices, wanted.indices);
    },
  ),
  choiceCase("plan", "a plan of experts' choices has C places for each expert", async (test) => {
    await test.compare(draw(test, [1, 8, 5], 17, 3), ({ inputs: { tokens, weights, x } }) =>
      planOutputs(plan(routingOf(tokens, weights, x))),
    );
  }),
  choiceCase(
    "plan-groups",
    "a plan over groups of tokens has the groups' places together",
    async (test) => {
      await test.compare(draw(test, [3, 4, 5], 9, 3), ({ inputs: { tokens, weights, x } }) =>
        planOutputs(plan(routingOf(tokens, weights, x))),
      );
    },
  ),
  choiceCase(
    "combine",
    "a token gets Σ weights · x over the experts that took it",
    async (test) => {
      await checkIdentity(test, draw(test, [1, 8, 5], 17, 9));
    },
  ),
  choiceCase("combine-groups", "groups of tokens do not mix", async (test) => {
    await checkIdentity(test, draw(test, [3, 4, 5], 11, 7));
  }),
  choiceCase("not-taken", "a token that no expert took gets zeros", async (test) => {
    const chosen = draw(test, [1, 4, 3], 33, 5);
    const tokens = generated(chosen.tokens.shape, "i32", (at) =>
      chosen.tokens.data[at] === 33 ? 33 : (chosen.tokens.data[at] ?? 0) % 8,
    );
    await checkIdentity(test, { ...chosen, tokens: distinctInLanes(tokens, 3, 33) });
  }),
  choiceCase("taken-by-all", "a token may be taken by every expert", async (test) => {
    const chosen = draw(test, [1, 16, 1], 9, 5);
    await checkIdentity(test, { ...chosen, tokens: generated([1, 16, 1], "i32", () => 4) });
  }),
  choiceCase("all-empty", "where all places are empty every token gets zeros", async (test) => {
    const chosen = draw(test, [1, 4, 3], 9, 5);
    await checkIdentity(test, { ...chosen, tokens: generated([1, 4, 3], "i32", () => 9) });
  }),
  choiceCase("values", "rows of any numbers are weighted and summed", async (test) => {
    const { tokens, weights } = draw(test, [2, 8, 5], 17, 1);
    await test.compare({ tokens, weights, x: test.random.normal([34, 33]) }, identity);
  }),
  choiceCase(
    "expert-order",
    "a token's rows are added by ascending expert, wherever among its places it stands",
    async (test) => {
      const chosen = { ...draw(test, [1, 16, 5], 9, 1), x: test.random.normal([9, 17]) };
      const weights = test.random.uniform(chosen.tokens.shape, 0.5, 2);
      const turn = (tensor: HostTensor): HostTensor =>
        generated(tensor.shape, tensor.dtype, (at) => {
          const start = at - (at % 5);
          return tensor.data[start + 4 - (at % 5)] ?? 0;
        });
      const straight = { ...chosen, weights };
      const turned = { ...chosen, tokens: turn(chosen.tokens), weights: turn(weights) };
      await test.compare(turned, identity);
      if (test.capabilities.determinism !== "bitwise") return;
      const [first, second] = [
        await test.observe(straight, identity),
        await test.observe(turned, identity),
      ];
      test.same("y", second.y.data, first.y.data);
    },
  ),
  choiceCase("load", "the load counts each expert's places that are not empty", async (test) => {
    const chosen = draw(test, [3, 4, 5], 9, 3);
    const { load } = await test.observe(chosen, ({ inputs: { tokens, weights, x } }) => ({
      load: loadOf(routingOf(tokens, weights, x)),
    }));
    const counts = upTo(4).map(
      (expert) =>
        upTo(60).filter((at) => Math.floor(at / 5) % 4 === expert && chosen.tokens.data[at] !== 27)
          .length,
    );
    sameIds(
      test,
      "load",
      load,
      exactly({ data: Int32Array.from(counts), shape: [4], dtype: "i32" }),
    );
  }),
];

/** The same with every second occurrence of a token in a lane made an empty place. */
function distinctInLanes(tokens: HostTensor, places: number, empty: number): HostTensor {
  return generated(tokens.shape, "i32", (at) => {
    const start = at - (at % places);
    const before = tokens.data.subarray(start, at);
    const token = tokens.data[at] ?? 0;
    return before.includes(token) ? empty : token;
  });
}

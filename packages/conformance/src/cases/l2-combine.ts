import { type Tensor, combine, dispatch, gather, planChoices } from "@moiety/core";
import type { CaseContext, ConformanceCase, Program } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { edited, rowsOf, upTo } from "./l1-support.ts";
import { withGaps } from "./l2-plan.ts";
import { COMBINE_OPS, type Replayed, dyadicWeights, permuteCase, replayed } from "./l2-support.ts";

type CombineInputs = Replayed & { readonly rows: HostTensor };

function combineCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`combine/${id}`, demand, COMBINE_OPS, run);
}

/** Rows by their plan back to tokens. */
const combining =
  (experts: number): Program<CombineInputs, { readonly y: Tensor }> =>
  ({ inputs: { rows, indices, weights } }) => ({
    y: combine(rows, planChoices(indices, experts), weights),
  });

/** Tokens to rows and back: experts that change nothing. */
const identity =
  (experts: number): Program<Replayed & { readonly x: HostTensor }, { readonly y: Tensor }> =>
  ({ inputs: { x, indices, weights } }) => {
    const sorted = planChoices(indices, experts);
    return { y: combine(gather(dispatch(x, sorted)), sorted, weights) };
  };

/** Σ weights · x of each token, over the choices that have an expert. */
function expectedSums(x: HostTensor, { indices, weights }: Replayed, experts: number): HostTensor {
  const [, k = 0] = indices.shape;
  const width = x.shape[1] ?? 0;
  return generated(x.shape, "f32", (at) => {
    const token = Math.floor(at / width);
    let sum = 0;
    for (let choice = token * k; choice < (token + 1) * k; choice++) {
      if (indices.data[choice] !== experts) sum += (weights.data[choice] ?? 0) * (x.data[at] ?? 0);
    }
    return sum;
  });
}

/** Holds identity experts to Σ weights · x with dyadic numbers, whose sums are exact. */
async function checkIdentity(
  test: CaseContext,
  indices: HostTensor,
  experts: number,
  width: number,
): Promise<void> {
  const [tokens = 0] = indices.shape;
  const x = test.random.dyadic([tokens, width]);
  const weights = dyadicWeights(test, indices.shape);
  const { y } = await test.observe({ x, indices, weights }, identity(experts));
  const wanted = expectedSums(x, { indices, weights }, experts);
  const at = wanted.data.findIndex((value, index) => value !== y.data[index]);
  test.expect(
    at < 0,
    `element ${at} of token ${Math.floor(at / width)} is ${y.data[at]} instead of ${wanted.data[at]}`,
  );
}

function identityCase(
  id: string,
  demand: string,
  experts: number,
  width: number,
  make: (test: CaseContext) => Promise<HostTensor>,
): ConformanceCase {
  return combineCase(`identity-${id}`, demand, async (test) =>
    checkIdentity(test, await make(test), experts, width),
  );
}

const laws: readonly ConformanceCase[] = [
  identityCase(
    "experts",
    "with experts that change nothing a token gets Σ weights · x",
    16,
    33,
    async (test) => (await replayed(test, 65, 16, 4)).indices,
  ),
  identityCase(
    "gaps",
    "choices without an expert add nothing, whatever their weight",
    8,
    5,
    async (test) => (await withGaps(test, 65, 8, 3)).indices,
  ),
  identityCase("all-to-one", "all tokens may go to one expert and come back", 8, 7, async () =>
    generated([65, 1], "i32", () => 5),
  ),
  identityCase("one-empty", "an expert without rows changes nothing", 8, 7, async (test) => {
    const { indices } = await replayed(test, 65, 7, 2);
    return generated(indices.shape, "i32", (at) => ((indices.data[at] ?? 0) + 4) % 8);
  }),
  identityCase("all-but-one-empty", "of 64 experts one may have all rows", 64, 3, async () =>
    generated([129, 1], "i32", () => 63),
  ),
  identityCase(
    "k-E",
    "every token may go to every expert",
    8,
    5,
    async (test) => (await replayed(test, 17, 8, 8)).indices,
  ),
  identityCase(
    "one-token",
    "a single token comes back",
    33,
    9,
    async (test) => (await replayed(test, 1, 33, 4)).indices,
  ),
  identityCase(
    "none-left",
    "a token all of whose choices were dropped gets zeros",
    8,
    5,
    async () => generated([9, 2], "i32", (at) => (at % 6 < 2 ? 8 : at % 2)),
  ),
  identityCase("many", "more than 65535 assignments come back", 8, 1, async (test) => {
    const first = test.random.integers([32_769], 0, 7);
    return generated([32_769, 2], "i32", (at) => {
      const id = first.data[Math.floor(at / 2)] ?? 0;
      return at % 2 === 0 ? id : (id + 3) % 8;
    });
  }),
];

const values: readonly ConformanceCase[] = [
  ...[1, 4, 33, 129].map((width) =>
    combineCase(
      `width-${width}`,
      `rows of width ${width} are weighted and summed`,
      async (test) => {
        const rows = test.random.normal([99, width]);
        await test.compare({ ...(await withGaps(test, 33, 8, 3)), rows }, combining(8));
      },
    ),
  ),
  combineCase("no-tokens", "no rows combine to no tokens", async (test) => {
    const inputs = {
      rows: hostTensor([], "f32", [0, 5]),
      indices: hostTensor([], "i32", [0, 2]),
      weights: hostTensor([], "f32", [0, 2]),
    };
    await test.compare(inputs, combining(8));
  }),
  combineCase("weights-of-choices", "each choice is weighted by its own weight", async (test) => {
    // Row r holds a power of two of its own, so that the sum tells which weight met which row.
    const { indices } = await replayed(test, 9, 8, 2);
    const rows = generated([18, 1], "f32", (row) => 2 ** (row - 9));
    const weights = generated([9, 2], "f32", (at) => 1 + at);
    await test.compare({ rows, indices, weights }, combining(8));
  }),
  combineCase(
    "dead-rows",
    "rows behind the last expert's may hold anything, NaN too",
    async (test) => {
      const inputs = await withGaps(test, 33, 8, 2);
      const live = inputs.indices.data.filter((id) => id < 8).length;
      const clean = test.random.normal([66, 5]);
      const rows = generated([66, 5], "f32", (at) =>
        at < live * 5 ? (clean.data[at] ?? 0) : Number.NaN,
      );
      await test.compare({ ...inputs, rows }, combining(8));
    },
  ),
  combineCase(
    "nan-no-bleed",
    "NaN in one token's rows makes its own output NaN alone",
    async (test) => {
      const { indices, weights } = await replayed(test, 33, 8, 2);
      const x = test.random.normal([33, 5]);
      const spoilt = edited(
        x,
        upTo(5).map((column) => [12 * 5 + column, Number.NaN]),
      );
      await test.compare({ x: spoilt, indices, weights }, identity(8));
      const [pure, dirty] = [
        await test.observe({ x, indices, weights }, identity(8)),
        await test.observe({ x: spoilt, indices, weights }, identity(8)),
      ];
      const others = upTo(33).filter((token) => token !== 12);
      test.same("the other tokens", rowsOf(dirty.y, others).data, rowsOf(pure.y, others).data);
    },
  ),
  combineCase(
    "duplicate-tokens",
    "equal tokens with equal choices get equal outputs",
    async (test) => {
      const once = await replayed(test, 33, 8, 2);
      const single = test.random.normal([33, 9]);
      const twice = [...upTo(33), ...upTo(33)];
      const inputs = {
        x: rowsOf(single, twice),
        indices: rowsOf(once.indices, twice),
        weights: rowsOf(once.weights, twice),
      };
      const { y } = await test.observe(inputs, identity(8));
      const wanted = rowsOf(y, upTo(33)).data;
      test.same("the second half", rowsOf(y, upTo(66).slice(33)).data, wanted);
    },
  ),
];

const order: readonly ConformanceCase[] = [
  permuteCase(
    "combine/choice-order",
    "choices are added in their own order: renaming the experts changes no bit",
    COMBINE_OPS,
    async (test) => {
      const { indices } = await replayed(test, 65, 16, 8);
      const weights = test.random.uniform([65, 8], 0.5, 2);
      const names = test.random.permutation(16);
      const renamed = generated([65, 8], "i32", (at) => names.data[indices.data[at] ?? 0] ?? 0);
      const x = test.random.normal([65, 9]);
      const straight = await test.observe({ x, indices, weights }, identity(16));
      const other = await test.observe({ x, indices: renamed, weights }, identity(16));
      test.same("y", other.y.data, straight.y.data);
    },
    { extension: "deterministic" },
  ),
];

/** From rows back to tokens. */
export const combineCases: readonly ConformanceCase[] = [...laws, ...values, ...order];

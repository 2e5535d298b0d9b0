import {
  type Plan,
  type Tensor,
  dispatch,
  gather,
  loadOf,
  plan,
  planChoices,
  slice,
  spread,
  where,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { edited, upTo } from "./l1-support.ts";
import {
  DISPATCH_OPS,
  PLAN_OPS,
  type Replayed,
  choiceOf,
  permuteCase,
  replayed,
} from "./l2-support.ts";

/** The tensors of a plan. */
export function planOutputs({
  order,
  inverse,
  offsets,
  group,
  tokenOfRow,
}: Plan): Record<"order" | "inverse" | "offsets" | "group" | "tokenOfRow", Tensor> {
  return { order, inverse, offsets, group, tokenOfRow };
}

function planCase(
  id: string,
  demand: string,
  experts: number,
  make: (test: CaseContext) => Promise<HostTensor>,
): ConformanceCase {
  return permuteCase(`plan/${id}`, demand, PLAN_OPS, async (test) => {
    await test.compare({ indices: await make(test) }, ({ inputs: { indices } }) =>
      planOutputs(planChoices(indices, experts)),
    );
  });
}

/** A replayed choice in which some places have no expert. */
export async function withGaps(
  test: CaseContext,
  tokens: number,
  experts: number,
  k: number,
): Promise<Replayed> {
  const { indices, weights } = await replayed(test, tokens, experts, k);
  const gaps = test.random.bools([tokens * k], 0.25);
  const edits = upTo(tokens * k).filter((at) => gaps.data[at] === 1);
  return {
    weights,
    indices: edited(
      indices,
      edits.map((at) => [at, experts]),
    ),
  };
}

const plans: readonly ConformanceCase[] = [
  planCase(
    "choices",
    "a plan sorts the choices by expert and knows each row's token",
    8,
    async (test) => (await replayed(test, 65, 8, 2)).indices,
  ),
  planCase(
    "no-expert",
    "choices without an expert have no row",
    8,
    async (test) => (await withGaps(test, 65, 8, 3)).indices,
  ),
  planCase(
    "k-E",
    "every token may be with every expert",
    8,
    async (test) => (await replayed(test, 17, 8, 8)).indices,
  ),
  planCase(
    "one-token",
    "a single token is planned",
    33,
    async (test) => (await replayed(test, 1, 33, 4)).indices,
  ),
  planCase("no-tokens", "no tokens give an empty plan", 8, async () =>
    hostTensor([], "i32", [0, 2]),
  ),
  planCase("many", "more than 65535 assignments are planned", 8, async (test) =>
    test.random.integers([32_769, 2], 0, 8),
  ),
  permuteCase("plan/of-routing", "plan reads a routing's indices", PLAN_OPS, async (test) => {
    await test.compare(await withGaps(test, 33, 8, 2), ({ inputs: { indices, weights } }) =>
      planOutputs(plan(choiceOf(indices, weights, 8))),
    );
  }),
];

function dispatchCase(
  id: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return permuteCase(`dispatch/${id}`, demand, DISPATCH_OPS, run);
}

const dispatches: readonly ConformanceCase[] = [
  dispatchCase(
    "rows",
    "each row is its token's, unchanged; rows that are not live are zero",
    async (test) => {
      const inputs = { x: test.random.normal([65, 33]), ...(await withGaps(test, 65, 8, 2)) };
      await test.compare(inputs, ({ inputs: { x, indices } }) => ({
        rows: gather(dispatch(x, planChoices(indices, 8))),
      }));
    },
  ),
  dispatchCase(
    "weighted",
    "rows are multiplied by the weights of their own choices",
    async (test) => {
      const inputs = { x: test.random.normal([33, 5]), ...(await withGaps(test, 33, 8, 3)) };
      await test.compare(inputs, ({ inputs: { x, indices, weights } }) => ({
        rows: gather(dispatch(x, planChoices(indices, 8), weights)),
      }));
    },
  ),
  dispatchCase("all-to-one", "all tokens may go to one expert", async (test) => {
    const inputs = {
      x: test.random.normal([65, 7]),
      indices: generated([65, 1], "i32", () => 5),
    };
    await test.compare(inputs, ({ inputs: { x, indices } }) => ({
      rows: gather(dispatch(x, planChoices(indices, 8))),
    }));
  }),
  dispatchCase("spread", "spread brings every row back to its token and choice", async (test) => {
    const { indices } = await withGaps(test, 33, 8, 3);
    const inputs = { rows: test.random.normal([99, 5]), indices };
    await test.compare(inputs, ({ inputs: { rows, indices } }) => ({
      choices: spread(rows, planChoices(indices, 8)),
    }));
  }),
  dispatchCase(
    "there-and-back",
    "dispatched and spread, each choice holds its token's row",
    async (test) => {
      const { indices } = await replayed(test, 65, 16, 4);
      const x = test.random.normal([65, 9]);
      const { choices } = await test.observe({ x, indices }, ({ inputs: { x, indices } }) => {
        const sorted = planChoices(indices, 16);
        return { choices: spread(gather(dispatch(x, sorted)), sorted) };
      });
      const wanted = generated([65, 4, 9], "f32", (at) => {
        const token = Math.floor(at / 36);
        return x.data[token * 9 + (at % 9)] ?? 0;
      });
      test.same("choices", choices.data, wanted.data);
    },
  ),
  dispatchCase("no-tokens", "no tokens have no rows", async (test) => {
    const inputs = {
      x: hostTensor([], "f32", [0, 5]),
      indices: hostTensor([], "i32", [0, 2]),
    };
    await test.compare(inputs, ({ inputs: { x, indices } }) => {
      const sorted = planChoices(indices, 8);
      const rows = gather(dispatch(x, sorted));
      return { rows, back: spread(rows, sorted) };
    });
  }),
  dispatchCase("many", "more than 65535 rows are dispatched and spread", async (test) => {
    const inputs = {
      x: generated([32_769, 1], "i32", (index) => index + 1),
      indices: test.random.integers([32_769, 2], 0, 8),
    };
    await test.compare(inputs, ({ inputs: { x, indices } }) => {
      const sorted = planChoices(indices, 8);
      const rows = gather(dispatch(x, sorted));
      return { rows, back: spread(rows, sorted) };
    });
  }),
];

const LOAD_OPS = [...PLAN_OPS, slice, where];

const loads: readonly ConformanceCase[] = [
  permuteCase(
    "load/counts",
    "the load counts each expert's assignments",
    LOAD_OPS,
    async (test) => {
      await test.compare(await replayed(test, 129, 8, 2), ({ inputs: { indices, weights } }) => ({
        load: loadOf(choiceOf(indices, weights, 8)),
      }));
    },
  ),
  permuteCase("load/padding", "padding tokens do not count", LOAD_OPS, async (test) => {
    const inputs = { ...(await replayed(test, 65, 8, 2)), mask: test.random.bools([65], 0.7) };
    await test.compare(inputs, ({ inputs: { indices, weights, mask } }) => ({
      load: loadOf({ ...choiceOf(indices, weights, 8), mask }),
    }));
  }),
  permuteCase(
    "load/before-dropping",
    "the load counts what was selected, dropped or not",
    LOAD_OPS,
    async (test) => {
      const { indices: selected, weights } = await replayed(test, 65, 8, 2);
      const { indices } = await withGaps(test, 65, 8, 2);
      await test.compare({ selected, weights, indices }, ({ inputs }) => ({
        load: loadOf({
          ...choiceOf(inputs.indices, inputs.weights, 8),
          selected: inputs.selected,
        }),
      }));
    },
  ),
  permuteCase(
    "load/sum",
    "the loads add up to T·k less the choices without an expert",
    LOAD_OPS,
    async (test) => {
      const inputs = await withGaps(test, 129, 16, 4);
      const { load } = await test.observe(inputs, ({ inputs: { indices, weights } }) => ({
        load: loadOf(choiceOf(indices, weights, 16)),
      }));
      const sum = [...load.data].reduce((total, count) => total + count, 0);
      const live = inputs.indices.data.filter((id) => id < 16).length;
      test.expect(sum === live, `the loads sum to ${sum} instead of ${live}`);
    },
  ),
  permuteCase(
    "load/soft",
    "with soft routing every expert has its slots as load",
    [],
    async (test) => {
      const inputs = { logits: test.random.normal([8, 6]), shares: test.random.normal([2, 4, 6]) };
      const { load } = await test.observe(inputs, ({ inputs: { logits, shares } }) => ({
        load: loadOf({
          kind: "soft",
          experts: 3,
          slots: 2,
          logits,
          scores: logits,
          dispatch: shares,
          combine: shares,
        }),
      }));
      test.same("load", load.data, new Int32Array([4, 4, 4]));
    },
  ),
];

/** Plans, dispatch and loads. */
export const planCases: readonly ConformanceCase[] = [...plans, ...dispatches, ...loads];

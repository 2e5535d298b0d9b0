import {
  type AnyOp,
  type Tensor,
  add,
  attention,
  concat,
  crossEntropy,
  donate,
  linear,
  matmul,
  rmsNorm,
  rope,
  routeTopK,
  slice,
  softmax,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { ROUTE_OPS } from "./grad-fused.ts";
import { BANKS, type Bank, FFN_OPS, GPT_OSS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import {
  type Body,
  type Hosts,
  type Uploaded,
  at,
  caseOf,
  observed,
  pickRows,
  present,
  referenced,
} from "./l3-support.ts";
import { ATTENTION_OPS, SINK_OPS, attentionHosts } from "./l4-attention.ts";
import { runLayer } from "./l4-laws.ts";
import { LAYER_OPS, type LayerOptions, layerHosts } from "./l4-layer-support.ts";
import { LOSS_OPS, NORM_OPS, ROPE_OPS, tableFor } from "./l4-model.ts";

/** Tokens in the whole batch, beyond the usual tiles. */
const TOKENS = 65;

/** Batches in which tokens stand elsewhere: alone, few, the last ones, backwards, odd ones. */
const BATCHES: readonly (readonly number[])[] = [
  [0],
  [37],
  [64],
  [5, 6],
  [0, 1, 2, 3, 4, 5, 6, 7],
  [56, 57, 58, 59, 60, 61, 62, 63, 64],
  Array.from({ length: TOKENS }, (_, token) => TOKENS - 1 - token),
  Array.from({ length: 32 }, (_, index) => 2 * index + 1),
];

/**
 * Tokens stand along axis 0 of some inputs and of all outputs. Each must have the bits that it has in
 * the whole batch in every other batch, and beside other neighbours.
 */
async function sameInEveryBatch<H extends Hosts>(
  test: CaseContext,
  hosts: H,
  perToken: readonly (keyof H & string)[],
  body: Body<H>,
): Promise<void> {
  const all = present(hosts);
  const whole = await observed(test, hosts, body);
  const bounded = await referenced(test, hosts, body);
  for (const [name, wanted] of Object.entries(bounded)) test.within(name, at(whole, name), wanted);
  for (const batch of BATCHES) {
    const part = perToken.map((name) => [name, pickRows(at(all, name), batch)] as const);
    const got = await observed(test, { ...hosts, ...Object.fromEntries(part) }, body);
    for (const [name, wanted] of Object.entries(whole)) {
      const where = batch.length === 1 ? `token ${batch[0]} alone` : `a batch of ${batch.length}`;
      test.same(`${name} of ${where}`, at(got, name).data, pickRows(wanted, batch).data);
    }
  }
  const strangers = perToken.map((name) => [name, withStrangers(test, at(all, name))] as const);
  const beside = await observed(test, { ...hosts, ...Object.fromEntries(strangers) }, body);
  for (const [name, wanted] of Object.entries(whole)) {
    const kept = Array.from({ length: TOKENS }, (_, token) => token).filter(
      (token) => token % 3 === 0,
    );
    test.same(
      `${name} beside strangers`,
      pickRows(at(beside, name), kept).data,
      pickRows(wanted, kept).data,
    );
  }
}

/** Only every third token stays; the others take the values of another. */
function withStrangers({ random }: CaseContext, tensor: HostTensor): HostTensor {
  const shift = random.integer(1, TOKENS - 1);
  const rows = Array.from({ length: TOKENS }, (_, token) =>
    token % 3 === 0 ? token : (token * 7 + shift) % TOKENS,
  );
  return pickRows(tensor, rows);
}

function invariantCase<H extends Hosts>(
  level: Level,
  what: string,
  ops: readonly AnyOp[],
  hosts: (test: CaseContext) => H,
  perToken: readonly (keyof H & string)[],
  body: (given: Uploaded<H>) => Record<string, Tensor>,
): ConformanceCase {
  return caseOf(level, `batch-invariant/${what}`, {
    demand: `a token's bits in ${what} depend neither on its batch nor on its place there`,
    extension: "batch-invariant",
    ops,
    run: (test) => sameInEveryBatch(test, hosts(test), perToken, body),
  });
}

const expertCase = (what: string, bank: Bank): ConformanceCase =>
  invariantCase(
    "L3",
    `experts-${what}`,
    FFN_OPS,
    (test) =>
      ffnHosts(test, bank, {
        tokens: TOKENS,
        experts: 6,
        topK: 2,
        input: 33,
        inner: 17,
        output: 20,
      }),
    ["x", "indices", "outputWeights", ...(bank.inputWeights ? (["inputWeights"] as const) : [])],
    (given) => ({ y: ffn(given, bank.descriptor) }),
  );

const layerCase = (what: string, options: LayerOptions): ConformanceCase =>
  invariantCase(
    "L4",
    `layer-${what}`,
    LAYER_OPS,
    (test) => ({
      ...layerHosts(test.random, options),
      x: test.random.normal([TOKENS, options.shape.input]),
      indices: undefined as HostTensor | undefined,
      mask: undefined as HostTensor | undefined,
    }),
    ["x"],
    (given) => {
      const { output, routing } = runLayer(given, options);
      return routing.kind === "token-choice"
        ? { output, weights: routing.outputWeights }
        : { output };
    },
  );

const SHAPE = { experts: 8, topK: 2, input: 24, inner: 10 } as const;

const tokens: readonly ConformanceCase[] = [
  invariantCase(
    "L3",
    "products",
    [matmul],
    ({ random }) => ({ x: random.normal([TOKENS, 300]), w: random.normal([33, 300]) }),
    ["x"],
    ({ x, w }) => ({ y: matmul(x, w, { transposeB: true }) }),
  ),
  invariantCase(
    "L3",
    "linear",
    [matmul],
    ({ random }) => ({ x: random.normal([TOKENS, 300]), w: random.normal([33, 300]) }),
    ["x"],
    ({ x, w }) => ({ y: linear(x, w, undefined, {}) }),
  ),
  invariantCase(
    "L4",
    "norm",
    NORM_OPS,
    ({ random }) => ({ x: random.normal([TOKENS, 300]), weight: random.normal([300]) }),
    ["x"],
    ({ x, weight }) => ({ y: rmsNorm(x, weight, { epsilon: 1e-5 }) }),
  ),
  invariantCase(
    "L1",
    "softmax",
    LOSS_OPS,
    ({ random }) => ({ x: random.normal([TOKENS, 129]) }),
    ["x"],
    ({ x }) => ({ y: softmax(x) }),
  ),
  invariantCase(
    "L1",
    "routing",
    ROUTE_OPS,
    ({ random }) => ({ logits: random.normal([TOKENS, 33]) }),
    ["logits"],
    ({ logits }) => {
      const spec = { topK: 4, score: "softmax", renormalize: {} } as const;
      const [scores, indices, weights] = routeTopK(logits, undefined, undefined, spec);
      return { scores, indices, weights };
    },
  ),
  invariantCase(
    "L4",
    "loss",
    LOSS_OPS,
    ({ random }) => ({
      logits: random.normal([TOKENS, 200]),
      targets: random.integers([TOKENS], 0, 199),
    }),
    ["logits", "targets"],
    ({ logits, targets }) => ({ loss: crossEntropy(logits, targets) }),
  ),
  expertCase("gated", USUAL),
  expertCase("gpt-oss", GPT_OSS),
  expertCase("input-weights", BANKS["input-weights-biases"] ?? USUAL),
  layerCase("plain", { shape: SHAPE }),
  layerCase("shared", { shape: SHAPE, merge: "gate" }),
  layerCase("rows", { shape: SHAPE, plain: true }),
];

/** A cache of keys or values with room for more, filled from its beginning. */
function cached(cache: Tensor, update: Tensor, position: number): Tensor {
  return writeSlice(donate(cache), update, { starts: [0, position, 0, 0] });
}

/** Queries at a position against the keys so far. */
function seen(
  { q, k, v, sinks }: Readonly<Record<"q" | "k" | "v", Tensor>> & { readonly sinks?: Tensor },
  position: number,
  window?: number,
): Tensor {
  const scale = (q.shape.at(-1) ?? 1) ** -0.5;
  return attention(q, k, v, undefined, sinks, { causal: true, scale, position, window });
}

const LENGTH = 41;
const CAPACITY = 48;

/** The steps in which a sequence may be read: at once, one by one, and in pieces. */
const STEPS: Readonly<Record<string, readonly number[]>> = {
  decode: new Array<number>(LENGTH).fill(1),
  pieces: [7, 1, 16, 9, 8],
};

async function prefillAndSteps<H extends Hosts>(
  test: CaseContext,
  hosts: H,
  forward: (given: Uploaded<H>, sizes: readonly number[], dtype: "f32" | "f64") => Tensor,
): Promise<void> {
  const whole = at(
    await observed(test, hosts, (given, { float }) => ({ y: forward(given, [LENGTH], float) })),
    "y",
  );
  for (const [name, sizes] of Object.entries(STEPS)) {
    const got = at(
      await observed(test, hosts, (given, { float }) => ({ y: forward(given, sizes, float) })),
      "y",
    );
    test.same(`${name} against prefill`, got.data, whole.data);
  }
}

/** Runs `step` on each piece of a sequence; pieces are joined along axis 1. */
function inSteps(
  sizes: readonly number[],
  step: (position: number, count: number) => Tensor,
): Tensor {
  let position = 0;
  const pieces = sizes.map((count) => {
    const piece = step(position, count);
    position += count;
    return piece;
  });
  return concat(...pieces, { axis: 1 });
}

const piece = (x: Tensor, position: number, count: number): Tensor =>
  slice(x, {
    starts: x.shape.map((_, axis) => (axis === 1 ? position : 0)),
    sizes: x.shape.with(1, count),
  });

/** Attention over a sequence whose keys and values go into a cache. */
async function cachedAttention(
  test: CaseContext,
  { sinks, window }: { readonly sinks?: HostTensor; readonly window?: number },
): Promise<void> {
  const shape = { queries: LENGTH, keys: LENGTH, heads: 4, keyHeads: 2, width: 16 };
  const { q, k, v } = attentionHosts(test, { ...shape, batch: 2 });
  const empty = test.random.normal([2, CAPACITY, 2, 16]);
  await prefillAndSteps(test, { q, k, v, empty, sinks }, (given, sizes) => {
    let [keys, values] = [add(given.empty, 0), add(given.empty, 0)];
    return inSteps(sizes, (position, count) => {
      keys = cached(keys, piece(given.k, position, count), position);
      values = cached(values, piece(given.v, position, count), position);
      const some = { q: piece(given.q, position, count), k: keys, v: values };
      return seen(given.sinks ? { ...some, sinks: given.sinks } : some, position, window);
    });
  });
}

/** Windows that end within a vector, at its end, and behind it. */
const WINDOWS = [5, 16, 17];

const sequences: readonly ConformanceCase[] = [
  caseOf("L4", "batch-invariant/attention", {
    demand: "a query's bits are the same in prefill, in pieces and in decode from a cache",
    extension: "batch-invariant",
    ops: [...ATTENTION_OPS, concat, writeSlice],
    run: (test) => cachedAttention(test, {}),
  }),
  caseOf("L4", "batch-invariant/attention-window", {
    demand: "so are they with windows and sinks",
    extension: "batch-invariant",
    ops: [...SINK_OPS, writeSlice],
    async run(test) {
      const sinks = test.random.normal([4]);
      for (const window of WINDOWS) await cachedAttention(test, { sinks, window });
    },
  }),
  caseOf("L4", "batch-invariant/block", {
    demand: "a token's bits through a whole block are the same in prefill, in pieces and in decode",
    extension: "batch-invariant",
    ops: [...LAYER_OPS, ...ATTENTION_OPS, ...NORM_OPS, ...ROPE_OPS, writeSlice],
    async run(test) {
      const options: LayerOptions = { shape: SHAPE };
      const width = SHAPE.input;
      const hosts = {
        ...layerHosts(test.random, options),
        x: test.random.normal([1, LENGTH, width]),
        weight: test.random.uniform([width], 0.5, 1.5),
        project: test.random.normal([width, width], 0.3),
        empty: test.random.normal([1, CAPACITY, 2, 12]),
        indices: undefined as HostTensor | undefined,
        mask: undefined as HostTensor | undefined,
      };
      await prefillAndSteps(test, hosts, (given, sizes, dtype) => {
        let [keys, values] = [add(given.empty, 0), add(given.empty, 0)];
        return inSteps(sizes, (position, count) => {
          const positions = Array.from({ length: count }, (_, index) => position + index);
          const { cos, sin } = tableFor(given.x.backend, dtype, positions, 6);
          const x = piece(given.x, position, count).reshape([count, width]);
          const normed = rmsNorm(x, given.weight, { epsilon: 1e-5 });
          const heads = matmul(normed, given.project, {}).reshape([1, count, 2, 12]);
          const turned = rope(heads, cos, sin);
          keys = cached(keys, turned, position);
          values = cached(values, heads, position);
          const attended = add(
            x,
            seen({ q: turned, k: keys, v: values }, position).reshape([count, width]),
          );
          const { output } = runLayer({ ...given, x: attended }, options);
          return add(attended, output).reshape([1, count, width]);
        });
      });
    },
  }),
];

/** Cases of bits that do not depend on the batch. */
export const batchInvariantCases: readonly ConformanceCase[] = [...tokens, ...sequences];

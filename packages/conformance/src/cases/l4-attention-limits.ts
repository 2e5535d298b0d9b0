import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { caseOf } from "./l3-support.ts";
import {
  ATTENTION_OPS,
  SINK_OPS,
  type AttentionShape,
  attentionHosts,
  checkAttention,
} from "./l4-attention.ts";

const SOME = { batch: 2, queries: 9, keys: 9, heads: 4, keyHeads: 2, width: 6 } as const;

type Run = (test: CaseContext) => Promise<void>;

const windowCase = (what: string, demand: string, run: Run): ConformanceCase =>
  caseOf("L4", `attention/${what}`, { demand, ops: ATTENTION_OPS, run });

const windows: readonly ConformanceCase[] = [
  windowCase(
    "window",
    "a query sees the last keys of its window, its own among them",
    async (test) => {
      const hosts = attentionHosts(test, SOME);
      for (const window of [1, 2, 3, 8])
        await checkAttention(test, hosts, { causal: true, window });
    },
  ),
  windowCase("window-whole", "a window that holds every key hides none", async (test) => {
    const hosts = attentionHosts(test, SOME);
    for (const window of [9, 10, 4096, 2 ** 31])
      await checkAttention(test, hosts, { causal: true, window });
  }),
  windowCase("window-position", "a window moves with the queries' position", async (test) => {
    const hosts = attentionHosts(test, { ...SOME, queries: 3, keys: 20 });
    for (const [position, window] of [
      [0, 2],
      [5, 1],
      [5, 5],
      [17, 4],
      [17, 19],
    ] as const) {
      await checkAttention(test, hosts, { causal: true, position, window });
    }
  }),
  windowCase("window-decode", "one query sees its window of a long cache", async (test) => {
    const hosts = attentionHosts(test, { ...SOME, queries: 1, keys: 300 });
    for (const [position, window] of [
      [0, 3],
      [2, 3],
      [3, 3],
      [140, 1],
      [140, 64],
      [299, 130],
    ] as const) {
      await checkAttention(test, hosts, { causal: true, position, window });
    }
  }),
  windowCase("window-mask", "of its window a query sees what the mask shows", async (test) => {
    const mask = generated([2, 20], "bool", (at) => (at % 3 === 1 || (at > 25 && at < 33) ? 0 : 1));
    const hosts = attentionHosts(test, { ...SOME, keys: 20 }, { mask });
    for (const window of [1, 4, 11])
      await checkAttention(test, hosts, { causal: true, position: 11, window });
  }),
  ...[31, 64, 65, 100].map((window) =>
    windowCase(`window-${window}`, `a window of ${window} slides over 140 queries`, (test) =>
      checkAttention(test, attentionHosts(test, { ...SOME, batch: 1, queries: 140, keys: 150 }), {
        causal: true,
        position: 10,
        window,
      }),
    ),
  ),
];

const sinkCase = (what: string, demand: string, run: Run): ConformanceCase =>
  caseOf("L4", `attention/${what}`, { demand, ops: SINK_OPS, run });

/** Sinks of the heads of a shape, some that are given in turn. */
const sinksOf = ({ heads }: AttentionShape, ...values: readonly number[]): HostTensor =>
  hostTensor(
    Array.from({ length: heads }, (_, head) => values[head % values.length] ?? 0),
    "f32",
  );

const sinks: readonly ConformanceCase[] = [
  sinkCase(
    "sinks",
    "a sink counts in the softmax's denominator and gives no value",
    async (test) => {
      const hosts = attentionHosts(test, SOME, { sinks: test.random.normal([SOME.heads]) });
      await checkAttention(test, hosts);
      await checkAttention(test, hosts, { causal: true });
    },
  ),
  sinkCase("sinks-own-head", "each query head has a sink of its own", async (test) => {
    const shape = { ...SOME, heads: 6, keyHeads: 3 };
    const own = sinksOf(shape, -2, -1, 0, 1, 2, 3);
    await checkAttention(test, attentionHosts(test, shape, { sinks: own }), { causal: true });
  }),
  sinkCase("sinks-unscaled", "the scale does not touch a sink", async (test) => {
    const hosts = attentionHosts(test, SOME, { sinks: sinksOf(SOME, 1, -2, 3) });
    for (const scale of [0.05, 1.7]) await checkAttention(test, hosts, { scale });
  }),
  sinkCase(
    "sinks-extreme",
    "sinks far above all scores and far below neither overflow nor vanish",
    async (test) => {
      const far = sinksOf(SOME, 20, -30, 1e4, -1e4);
      await checkAttention(test, attentionHosts(test, SOME, { sinks: far }), { causal: true });
    },
  ),
  sinkCase("sinks-nothing-seen", "a query that sees a sink alone gets zeros", async (test) => {
    const mask = generated([2, 9], "bool", (at) => (at < 9 || at % 9 < 4 ? 0 : 1));
    const given = { mask, sinks: test.random.normal([SOME.heads]) };
    await checkAttention(test, attentionHosts(test, SOME, given));
    await checkAttention(test, attentionHosts(test, SOME, given), { causal: true });
    const none = { ...SOME, keys: 0 };
    await checkAttention(test, attentionHosts(test, none, { sinks: given.sinks }));
  }),
  sinkCase("sinks-decode", "one query at each position has its sink", async (test) => {
    const shape = { ...SOME, queries: 1, keys: 70 };
    const hosts = attentionHosts(test, shape, { sinks: test.random.normal([SOME.heads]) });
    for (const position of [0, 3, 69])
      await checkAttention(test, hosts, { causal: true, position });
  }),
  sinkCase(
    "sinks-window",
    "sinks with a window, groups of heads, a mask and other values' width",
    async (test) => {
      const shape = { ...SOME, queries: 21, keys: 90, heads: 6, keyHeads: 2, valueWidth: 9 };
      const mask = generated([2, 90], "bool", (at) => (at % 5 === 2 ? 0 : 1));
      const given = { mask, sinks: test.random.normal([shape.heads]) };
      const hosts = attentionHosts(test, shape, given);
      for (const window of [1, 7, 33])
        await checkAttention(test, hosts, { causal: true, position: 60, window });
    },
  ),
];

/** Cases of `attention` with a window, with sinks, and with both. */
export const attentionLimitCases: readonly ConformanceCase[] = [...windows, ...sinks];

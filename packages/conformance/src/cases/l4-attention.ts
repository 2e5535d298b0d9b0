import {
  type AnyOp,
  type AttentionAttributes,
  type Tensor,
  attention,
  binary,
  broadcast,
  compare,
  concat,
  fill,
  iota,
  matmul,
  reduce,
  slice,
  transpose,
  unary,
  where,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { type Uploaded, caseOf, holds, mapped, staysInRow } from "./l3-support.ts";

/** Sizes of an attention. */
export interface AttentionShape {
  readonly batch?: number | undefined;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly width: number;
  /** Dv; D unless given. */
  readonly valueWidth?: number | undefined;
}

/** Inputs of an attention. */
export type AttentionHosts = {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly mask: HostTensor | undefined;
  readonly sinks: HostTensor | undefined;
};

/** The same on a backend. */
export type AttentionTensors = Uploaded<AttentionHosts>;

/** The ops of `attention` without sinks where it is taken apart. */
export const ATTENTION_OPS: readonly AnyOp[] = [
  binary,
  compare,
  fill,
  iota,
  matmul,
  reduce,
  slice,
  transpose,
  unary,
  where,
];

/** Those of `attention` with sinks. */
export const SINK_OPS: readonly AnyOp[] = [...ATTENTION_OPS, broadcast, concat];

/** Draws the inputs of an attention. */
export function attentionHosts(
  { random }: Pick<CaseContext, "random">,
  shape: AttentionShape,
  { mask, sinks }: { readonly mask?: HostTensor; readonly sinks?: HostTensor } = {},
): AttentionHosts {
  const { batch = 1, queries, keys, heads, keyHeads, width, valueWidth = width } = shape;
  return {
    q: random.normal([batch, queries, heads, width]),
    k: random.normal([batch, keys, keyHeads, width]),
    v: random.normal([batch, keys, keyHeads, valueWidth]),
    mask,
    sinks,
  };
}

/** The op on uploaded inputs; the scale is the usual one unless given. */
export function attend(
  { q, k, v, mask, sinks }: AttentionTensors,
  attributes: Partial<AttentionAttributes> = {},
): Tensor {
  const scale = (q.shape.at(-1) ?? 1) ** -0.5;
  return attention(q, k, v, mask, sinks, { causal: false, scale, position: 0, ...attributes });
}

/** Holds the op to the references. */
export async function checkAttention(
  test: CaseContext,
  hosts: AttentionHosts,
  attributes?: Partial<AttentionAttributes>,
): Promise<void> {
  await holds(test, hosts, (given) => ({ y: attend(given, attributes) }));
}

const attentionCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => caseOf("L4", `attention/${what}`, { demand, ops: ATTENTION_OPS, run });

const shapeCase = (
  what: string,
  demand: string,
  shape: AttentionShape,
  attributes?: Partial<AttentionAttributes>,
): ConformanceCase =>
  attentionCase(what, demand, (test) =>
    checkAttention(test, attentionHosts(test, shape), attributes),
  );

const SOME = { batch: 2, queries: 5, keys: 5, heads: 4, keyHeads: 2, width: 6 } as const;

/** A cache whose places behind the visible ones hold what `fill` gives. */
function unused(hosts: AttentionHosts, visible: number, fill: number): AttentionHosts {
  const dirty = (tensor: HostTensor): HostTensor => {
    const [, places = 1, ...rest] = tensor.shape;
    const width = rest.reduce((product, size) => product * size, 1);
    return mapped(tensor, (value, index) =>
      Math.floor(index / width) % places >= visible ? fill : value,
    );
  };
  return { ...hosts, k: dirty(hosts.k), v: dirty(hosts.v) };
}

const shapes: readonly ConformanceCase[] = [
  shapeCase("all-keys", "without causality every query sees every key", SOME),
  shapeCase("causal", "a query sees no key behind itself", SOME, { causal: true }),
  shapeCase("one-head", "one head", { ...SOME, heads: 1, keyHeads: 1 }),
  shapeCase("own-key-heads", "as many key heads as query heads", { ...SOME, keyHeads: 4 }),
  shapeCase("one-key-head", "query heads share one key head", { ...SOME, keyHeads: 1 }),
  shapeCase("query-heads-in-order", "query head h uses key head ⌊h/n⌋", {
    ...SOME,
    heads: 6,
    keyHeads: 3,
  }),
  shapeCase("value-width", "values may be wider or narrower than keys", { ...SOME, valueWidth: 9 }),
  shapeCase("cross", "more keys than queries, none of them behind", { ...SOME, keys: 13 }),
  shapeCase("scale", "the scale multiplies the products of queries and keys", SOME, { scale: 1.7 }),
  ...[1, 31, 32, 33, 64, 65, 129].map((keys) =>
    shapeCase(
      `keys-${keys}`,
      `${keys} keys, seen by all and by causality`,
      { ...SOME, batch: 1, queries: Math.min(keys, 9), keys },
      { causal: keys % 2 === 1, position: keys - Math.min(keys, 9) },
    ),
  ),
  ...[1, 4, 33, 64, 128].map((width) =>
    shapeCase(`width-${width}`, `heads of width ${width}`, { ...SOME, batch: 1, width }),
  ),
  attentionCase("empty", "no queries, no batch, and no keys, which gives zeros", async (test) => {
    await checkAttention(test, attentionHosts(test, { ...SOME, queries: 0 }), { causal: true });
    await checkAttention(test, attentionHosts(test, { ...SOME, batch: 0 }));
    await checkAttention(test, attentionHosts(test, { ...SOME, keys: 0 }));
  }),
];

const visibility: readonly ConformanceCase[] = [
  attentionCase("position", "queries begin behind the keys that came before them", async (test) => {
    const hosts = attentionHosts(test, { ...SOME, queries: 3, keys: 11 });
    for (const position of [0, 1, 8]) await checkAttention(test, hosts, { causal: true, position });
  }),
  attentionCase("decode", "one query at each position sees what is there so far", async (test) => {
    const hosts = attentionHosts(test, { ...SOME, queries: 1, keys: 7 });
    for (const position of [0, 3, 6]) await checkAttention(test, hosts, { causal: true, position });
  }),
  attentionCase(
    "unused-cache",
    "what stands in the unused end of a cache is never read",
    async (test) => {
      const hosts = attentionHosts(test, { ...SOME, queries: 2, keys: 70 });
      const attributes = { causal: true, position: 3 };
      for (const fill of [3e38, Number.NaN])
        await checkAttention(test, unused(hosts, 5, fill), attributes);
    },
  ),
  attentionCase("mask", "nobody sees a key that the mask hides", async (test) => {
    const mask = generated([2, 5], "bool", (index) => (index % 3 === 1 ? 0 : 1));
    const hosts = attentionHosts(test, SOME, { mask });
    await checkAttention(test, hosts);
    await checkAttention(test, hosts, { causal: true });
  }),
  attentionCase("nothing-seen", "a query that sees no key gets zeros", async (test) => {
    const none = generated([2, 5], "bool", (index) => (index < 5 ? 0 : 1));
    await checkAttention(test, attentionHosts(test, SOME, { mask: none }));
    const late = generated([2, 5], "bool", (index) => (index % 5 < 2 ? 0 : 1));
    await checkAttention(test, attentionHosts(test, SOME, { mask: late }), { causal: true });
  }),
];

const values: readonly ConformanceCase[] = [
  attentionCase("large-scores", "scores of ±10⁴ neither overflow nor vanish", async (test) => {
    const hosts = attentionHosts(test, { ...SOME, queries: 4, keys: 6 });
    const q = mapped(hosts.q, (value) => Math.sign(value) * 100);
    const k = mapped(hosts.k, (value, index) => Math.sign(value) * (40 + (index % 7)));
    await checkAttention(test, { ...hosts, q, k }, { scale: 1 });
  }),
  attentionCase("equal-keys", "equal keys share equally", (test) => {
    const hosts = attentionHosts(test, { ...SOME, keys: 37 });
    const [, , heads = 1, width = 1] = hosts.k.shape;
    const k = mapped(hosts.k, (_, index) => hosts.k.data[index % (heads * width)] ?? 0);
    return checkAttention(test, { ...hosts, k });
  }),
  attentionCase("nan-sequence", "NaN in one sequence leaves the others as they are", (test) =>
    staysInRow(test, attentionHosts(test, { ...SOME, batch: 3 }), "q", 1, (given) => ({
      y: attend(given, { causal: true }),
    })),
  ),
];

/** Cases of `attention`. */
export const attentionCases: readonly ConformanceCase[] = [...shapes, ...visibility, ...values];

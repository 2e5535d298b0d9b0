import {
  type AnyOp,
  type Tensor,
  adamW,
  argsort,
  binary,
  cumsum,
  gatherRows,
  groupRows,
  matmul,
  mul,
  reduce,
  segmentSum,
  topK,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import { readAll, withOutputs } from "../execute.ts";
import { Fingerprint } from "../fingerprint.ts";
import { type HostTensor, bytesOf } from "../host-tensor.ts";
import { dirtyMemory } from "../memory-guard.ts";
import { FFN_GRADIENT_OPS, LAYER_GRADIENT_OPS } from "./grad-fused.ts";
import { floatsOf } from "./grad-layer.ts";
import { GRADIENT_OPS, gradients } from "./grad-support.ts";
import { FFN_OPS, type FfnHosts, GPT_OSS, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { type Body, type Hosts, at, caseOf, constant, present, programOf } from "./l3-support.ts";
import { ATTENTION_OPS, type AttentionHosts, attend, attentionHosts } from "./l4-attention.ts";
import { type RoutedHosts, routedHosts, runLayer } from "./l4-laws.ts";
import { LAYER_OPS, type LayerOptions } from "./l4-layer-support.ts";

/** How often each program is run. */
const RUNS = 20;

/**
 * Runs a program twenty times on one backend, with garbage in freed memory and other work in flight
 * in between: always the same bits.
 */
export async function alwaysSameBits<H extends Hosts>(
  test: CaseContext,
  hosts: H,
  body: Body<H>,
): Promise<void> {
  const inputs = present(hosts);
  const program = programOf(body);
  const first = await test.observe(inputs, program);
  const wanted = digest(first);
  const sizes = Object.values(first).map(({ data }) => data.byteLength);
  for (let run = 1; run < RUNS; run++) {
    dirtyMemory(test.backend, sizes);
    // Neighbours of changing size take the places that were free before.
    const neighbours = neighbour(test, 1 + (run % 5) * 37);
    const got = await test.observe(inputs, program);
    neighbours.dispose();
    requireSame(test, `run ${run + 1}`, got, first, wanted);
  }
}

/** Runs a program once more on a fresh backend: the same bits. */
async function freshSameBits<H extends Hosts>(
  test: CaseContext,
  hosts: H,
  body: Body<H>,
): Promise<void> {
  const inputs = present(hosts);
  const program = programOf(body);
  const first = await test.observe(inputs, program);
  const fresh = await test.createBackend();
  const again = await withOutputs(fresh, "f32", inputs, program, readAll);
  requireSame(test, "a fresh backend", again, first, digest(first));
}

function neighbour({ backend, random }: CaseContext, size: number): Tensor {
  const { data } = random.normal([size, 16]);
  return backend.scope(() => {
    const x = backend.tensor(data as Float32Array, { shape: [size, 16] });
    return matmul(x, x, { transposeB: true });
  });
}

function digest(outputs: Readonly<Record<string, HostTensor>>): string {
  const fingerprint = new Fingerprint();
  for (const name of Object.keys(outputs).sort()) {
    fingerprint.text(name).bytes(bytesOf(at(outputs, name)));
  }
  return fingerprint.digest();
}

function requireSame(
  test: CaseContext,
  where: string,
  got: Readonly<Record<string, HostTensor>>,
  wanted: Readonly<Record<string, HostTensor>>,
  hash: string,
): void {
  if (digest(got) === hash) return;
  for (const [name, { data }] of Object.entries(wanted)) {
    test.same(`${name} of ${where}`, at(got, name).data, data);
  }
}

function deterministicCase<H extends Hosts>(
  level: Level,
  what: string,
  ops: readonly AnyOp[],
  hosts: (test: CaseContext) => H | Promise<H>,
  body: (hosts: H) => Body<H>,
): ConformanceCase {
  return caseOf(level, `deterministic/${what}`, {
    demand: `${what} gives the same bits in ${RUNS} runs`,
    extension: "deterministic",
    ops: [matmul, ...ops],
    async run(test) {
      const drawn = await hosts(test);
      await alwaysSameBits(test, drawn, body(drawn));
    },
  });
}

const OPTIONS: LayerOptions = {
  shape: { experts: 8, topK: 2, input: 20, inner: 11 },
  bank: GPT_OSS,
  merge: "gate",
};
const layer = (tokens: number) => (test: CaseContext) => routedHosts(test, OPTIONS, tokens);
const own = (hosts: RoutedHosts): RoutedHosts => ({ ...hosts, indices: undefined });

type TableHosts = {
  readonly table: HostTensor;
  readonly ids: HostTensor;
  readonly factors: HostTensor;
};

const parts: readonly ConformanceCase[] = [
  deterministicCase(
    "L0",
    "sums",
    [reduce, cumsum],
    ({ random }) => ({ long: random.normal([70_003]), rows: random.normal([33, 129]) }),
    () => (given) => ({
      long: reduce(given.long, { kind: "sum", axes: [0] }),
      rows: reduce(given.rows, { kind: "sum", axes: [1] }),
      columns: reduce(given.rows, { kind: "sum", axes: [0] }),
      running: cumsum(given.long, { axis: 0 }),
    }),
  ),
  deterministicCase(
    "L1",
    "choices",
    [topK, argsort, groupRows],
    ({ random }) => ({
      scores: random.dyadic([65, 33]),
      ids: random.integers([5000], -1, 17),
    }),
    () => (given) => {
      const [values, indices] = topK(given.scores, undefined, { k: 5 });
      const [order, inverse, offsets, group] = groupRows(given.ids, { groups: 17 });
      const sorted = argsort(given.scores, undefined, { descending: true });
      return { values, indices, order, inverse, offsets, group, sorted };
    },
  ),
  deterministicCase(
    "L2",
    "added-rows",
    [...GRADIENT_OPS, gatherRows, groupRows, segmentSum],
    ({ random }) => ({
      table: random.normal([9, 12]),
      ids: random.integers([3001], 0, 8),
      // Factors of few digits would make every order exact.
      factors: random.normal([3001, 12]),
    }),
    () =>
      gradients<TableHosts>(["table"], (given) =>
        mul(gatherRows(given.table, given.ids), given.factors),
      ),
  ),
  deterministicCase(
    "L3",
    "products",
    [],
    ({ random }) => ({ a: random.normal([65, 300]), b: random.normal([300, 33]) }),
    () => (given) => ({ y: matmul(given.a, given.b, {}) }),
  ),
  deterministicCase(
    "L3",
    "experts",
    FFN_OPS,
    (test) => ffnHosts(test, GPT_OSS, { tokens: 70, experts: 6, topK: 2, input: 33, inner: 17 }),
    () => (given) => ({ y: ffn(given, GPT_OSS.descriptor) }),
  ),
  deterministicCase(
    "L3",
    "expert-gradients",
    [...GRADIENT_OPS, ...FFN_GRADIENT_OPS],
    (test) => ffnHosts(test, GPT_OSS, { tokens: 70, experts: 6, topK: 2, input: 33, inner: 17 }),
    () =>
      gradients<FfnHosts>(["x", "outputWeights", "up", "down", "upBias", "downBias"], (given) =>
        ffn(given, GPT_OSS.descriptor),
      ),
  ),
  deterministicCase(
    "L4",
    "attention",
    [...GRADIENT_OPS, ...ATTENTION_OPS],
    (test) =>
      attentionHosts(test, { batch: 2, queries: 33, keys: 33, heads: 4, keyHeads: 2, width: 16 }),
    () => (given, run) => ({
      y: attend(given, { causal: true }),
      ...gradients<AttentionHosts>(["q", "k", "v"], (traced) => attend(traced, { causal: true }))(
        given,
        run,
      ),
    }),
  ),
];

const layers: readonly ConformanceCase[] = [
  deterministicCase(
    "L4",
    "layer",
    LAYER_OPS,
    async (test) => own(await layer(65)(test)),
    () => (given) => {
      const { output, load } = runLayer(given, OPTIONS);
      return { output, load };
    },
  ),
  deterministicCase(
    "L4",
    "layer-decode",
    LAYER_OPS,
    async (test) => own(await layer(1)(test)),
    () => (given) => ({ output: runLayer(given, OPTIONS).output }),
  ),
  deterministicCase(
    "L4",
    "layer-gradients",
    [...GRADIENT_OPS, ...LAYER_GRADIENT_OPS],
    async (test) => own(await layer(65)(test)),
    (hosts) => gradients(floatsOf(hosts), (given) => runLayer(given, OPTIONS).output),
  ),
  deterministicCase(
    "L4",
    "training-steps",
    [...GRADIENT_OPS, ...LAYER_GRADIENT_OPS, binary],
    layer(33),
    () => (given, run) => {
      const names = ["router", "up", "down"] as const;
      let state = Object.fromEntries(names.map((name) => [name, at({ ...given }, name) as Tensor]));
      for (let step = 1; step <= 3; step++) {
        const found = gradients<RoutedHosts>(names, (traced) => runLayer(traced, OPTIONS).output)(
          { ...given, ...state },
          run,
        );
        state = Object.fromEntries(
          names.map((name) => {
            const [parameter, gradient] = [at(state, name), at(found, name)];
            const zero = run.backend.tensor(constant(parameter.shape, 0).data, {
              shape: parameter.shape,
            });
            const rates = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
            const [next] = adamW(parameter, gradient, zero, zero, {
              ...rates,
              weightDecay: 0.1,
              step,
            });
            return [name, next];
          }),
        );
      }
      return state;
    },
  ),
];

const freshLayer = caseOf("L4", "deterministic/fresh-backend", {
  demand: "a layer and its gradients have the same bits on a fresh backend",
  extension: "deterministic",
  ops: [...GRADIENT_OPS, ...LAYER_GRADIENT_OPS],
  async run(test) {
    const hosts = own(await layer(33)(test));
    await freshSameBits(test, hosts, (given, run) => ({
      ...gradients<RoutedHosts>(floatsOf(hosts), (traced) => runLayer(traced, OPTIONS).output)(
        given,
        run,
      ),
      output: runLayer(given, OPTIONS).output,
    }));
  },
});

/** Cases of equal bits in repeated runs. */
export const deterministicCases: readonly ConformanceCase[] = [...parts, ...layers, freshLayer];

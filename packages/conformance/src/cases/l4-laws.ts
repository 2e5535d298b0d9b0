import {
  type MoeOutput,
  type Tensor,
  add,
  apply,
  attention,
  cast,
  concat,
  crossEntropy,
  gatherRows,
  iota,
  matmul,
  mean,
  mul,
  rmsNorm,
  rope,
  slice,
  sum,
  transpose,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { USUAL } from "./l3-ffn-support.ts";
import {
  agreeing,
  at,
  holds,
  observed,
  pickRows,
  present,
  programOf,
  referenced,
} from "./l3-support.ts";
import { layerCase } from "./l4-layer.ts";
import {
  LAYER_OPS,
  type LayerHosts,
  type LayerOptions,
  type LayerTensors,
  layerHosts,
  layerOf,
  layerParams,
} from "./l4-layer-support.ts";
import { layerLoss } from "./l4-losses.ts";
import { ROPE_OPS, tableFor } from "./l4-model.ts";

const SHAPE = { experts: 6, topK: 2, input: 12, inner: 7 } as const;
const OPTIONS: LayerOptions = { shape: SHAPE };

/** Inputs of a layer: its parameters, tokens, choices to play back, and which tokens count. */
export type RoutedHosts = LayerHosts & {
  readonly x: HostTensor;
  readonly indices: HostTensor | undefined;
  readonly mask: HostTensor | undefined;
};

/** The same on a backend. */
export type RoutedTensors = LayerTensors & {
  readonly x: Tensor;
  readonly indices: Tensor | undefined;
  readonly mask: Tensor | undefined;
};

/** A layer on uploaded parameters, with choices played back where they are given. */
export function runLayer(given: RoutedTensors, options: LayerOptions = OPTIONS): MoeOutput {
  const { x, indices, mask } = given;
  const layer = layerOf({ ...options, indices });
  return apply(layer, layerParams(given), { router: {} }, x, { mask });
}

/** Inputs of a layer, with the oracle's choices to play back. */
export async function routedHosts(
  test: CaseContext,
  options: LayerOptions,
  tokens: number,
  mask?: HostTensor,
): Promise<RoutedHosts & { readonly indices: HostTensor }> {
  const x = test.random.normal([tokens, options.shape.input]);
  const hosts = { ...layerHosts(test.random, options), x, indices: undefined, mask };
  const { indices } = await referenced(test, hosts, (given: RoutedTensors) => {
    const { routing } = runLayer(given, options);
    if (routing.kind !== "token-choice") throw new TypeError("a layer of the kit chooses by token");
    return { indices: routing.selected };
  });
  const chosen: HostTensor = {
    data: Int32Array.from(indices?.values ?? []),
    shape: [tokens, options.shape.topK],
    dtype: "i32",
  };
  return { ...hosts, indices: chosen };
}

const padding: readonly ConformanceCase[] = [
  layerCase(
    "padding",
    "padding behind a mask changes neither other tokens nor losses nor loads",
    async (test) => {
      const [real, all] = [21, 30];
      const options: LayerOptions = {
        ...OPTIONS,
        losses: [layerLoss("switch", 1), layerLoss("z", 1)],
      };
      const mask = generated([all], "bool", (token) => (token < real ? 1 : 0));
      const padded = await routedHosts(test, options, all, mask);
      const first = Array.from({ length: real }, (_, token) => token);
      const short = {
        ...padded,
        x: pickRows(padded.x, first),
        indices: pickRows(padded.indices, first),
        mask: undefined,
      };
      const body = (given: RoutedTensors): Record<string, Tensor> => {
        const { output, load, losses } = runLayer(given, options);
        const width = output.shape[1] ?? 0;
        return {
          output: slice(output, { starts: [0, 0], sizes: [real, width] }),
          load,
          switch: losses[0]?.value ?? load,
          z: losses[1]?.value ?? load,
        };
      };
      await holds(test, padded, body);
      const wanted = await referenced(test, short, body);
      const got = await observed(test, padded, body);
      for (const [name, bounded] of Object.entries(wanted))
        test.within(name, at(got, name), bounded);
      if (!test.capabilities.batchInvariant) return;
      const alone = await observed(test, short, body);
      test.same("output", at(got, "output").data, at(alone, "output").data);
    },
    { ops: [...LAYER_OPS, cast] },
  ),
];

const dense: readonly ConformanceCase[] = [
  layerCase(
    "dense",
    "k = E under softmax is the dense mixture of all experts",
    async (test) => {
      const options: LayerOptions = {
        shape: { ...SHAPE, experts: 4, topK: 4 },
        bank: { descriptor: { activation: "identity" } },
        spec: { renormalize: undefined },
      };
      const hosts = await routedHosts(test, options, 19);
      await agreeing(
        test,
        hosts,
        (given: RoutedTensors) => {
          const { output, routing } = runLayer(given, options);
          const { x, up, down } = given;
          const product = (a: Tensor, b: Tensor): Tensor => matmul(a, b, { transposeB: true });
          // [E, T, O]: every expert on every token.
          const outputs = product(product(x, up), down);
          const weights = transpose(routing.scores, { permutation: [1, 0] });
          const factors = weights.reshape([...weights.shape, 1]);
          return { routed: output, mixture: sum(mul(outputs, factors), [0]) };
        },
        [["routed", "mixture"]],
      );
    },
    { ops: [...LAYER_OPS, transpose] },
  ),
  layerCase(
    "split-batch",
    "a batch in two parts is the whole batch",
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 37);
      const part = (given: RoutedTensors, start: number, count: number): Tensor => {
        const rows = (tensor: Tensor): Tensor =>
          slice(tensor, { starts: [start, 0], sizes: [count, tensor.shape[1] ?? 0] });
        const indices = given.indices && rows(given.indices);
        return runLayer({ ...given, x: rows(given.x), indices }).output;
      };
      await agreeing(
        test,
        hosts,
        (given: RoutedTensors) => ({
          whole: runLayer(given).output,
          parts: concat(part(given, 0, 5), part(given, 5, 32), { axis: 0 }),
        }),
        [["whole", "parts"]],
      );
    },
    { ops: [...LAYER_OPS, concat] },
  ),
  layerCase("relabelled", "experts under other numbers give the same output", async (test) => {
    const hosts = await routedHosts(test, OPTIONS, 33);
    const order = [...test.random.permutation(SHAPE.experts).data];
    const place = (expert: number): number => order.indexOf(expert);
    const renamed = {
      ...hosts,
      router: pickRows(hosts.router, order),
      up: pickRows(hosts.up, order),
      down: pickRows(hosts.down, order),
      indices: { ...hosts.indices, data: Int32Array.from(hosts.indices.data, place) },
    };
    const body = (given: RoutedTensors): Record<string, Tensor> => ({ y: runLayer(given).output });
    const wanted = at(await referenced(test, hosts, body), "y");
    const again = at(await referenced(test, renamed, body), "y");
    const bounds = wanted.bounds.map((bound, index) => Math.max(bound, again.bounds[index] ?? 0));
    test.within("y", at(await observed(test, renamed, body), "y"), { ...wanted, bounds });
  }),
];

const flight: readonly ConformanceCase[] = [
  layerCase("in-flight", "two layers in flight do not disturb one another", async (test) => {
    const [one, other] = [
      await routedHosts(test, OPTIONS, 40),
      await routedHosts(test, { ...OPTIONS, bank: USUAL, shape: { ...SHAPE, inner: 9 } }, 25),
    ];
    const [first, second] = [
      programOf<typeof one>((given) => ({ y: runLayer(given).output })),
      programOf<typeof other>((given) => ({
        y: runLayer(given, { ...OPTIONS, shape: { ...SHAPE, inner: 9 } }).output,
      })),
    ];
    const [wanted, besides] = [
      await test.reference(present(one), first),
      await test.reference(present(other), second),
    ];
    // No waiting in between: each is begun before the one before it was read.
    const runs = await Promise.all([
      test.observe(present(one), first),
      test.observe(present(other), second),
      test.observe(present(one), first),
      test.observe(present(other), second),
    ]);
    for (const [index, got] of runs.entries()) {
      const bounded = at(index % 2 === 0 ? wanted : besides, "y");
      test.within(`run ${index}`, at(got, "y"), bounded);
    }
  }),
  layerCase("chained", "layers feed one another without waiting", async (test) => {
    const hosts = await routedHosts(test, OPTIONS, 17);
    await holds(test, hosts, (given: RoutedTensors) => {
      let x = given.x;
      for (let layer = 0; layer < 3; layer++)
        x = add(x, mul(runLayer({ ...given, x }).output, 0.05));
      return { x };
    });
  }),
];

/** A small decoder: embedding → norm → attention → norm → layer → norm → loss. */
async function decoder(test: CaseContext): Promise<void> {
  const [tokens, vocabulary, heads] = [18, 29, 2];
  const { input: width } = SHAPE;
  const { random } = test;
  const hosts = {
    ...(await routedHosts(test, OPTIONS, tokens)),
    ids: random.integers([tokens], 0, vocabulary - 1),
    targets: random.integers([tokens], 0, vocabulary - 1),
    table: random.normal([vocabulary, width]),
    norm: random.uniform([width], 0.5, 1.5),
    query: random.normal([width, width], 0.15),
    key: random.normal([width, width], 0.15),
    value: random.normal([width, width], 0.15),
  };
  await holds(test, hosts, (given, { backend, float }) => {
    const positions = Array.from({ length: tokens }, (_, position) => position);
    const { cos, sin } = tableFor(backend, float, positions, width / heads / 2);
    const split = (tensor: Tensor): Tensor => tensor.reshape([1, tokens, heads, width / heads]);
    const normed = (tensor: Tensor): Tensor => rmsNorm(tensor, given.norm, { epsilon: 1e-5 });
    let x = gatherRows(given.table, given.ids);
    const [q, k, v] = [given.query, given.key, given.value].map((weight) =>
      split(matmul(normed(x), weight, {})),
    ) as [Tensor, Tensor, Tensor];
    const scale = (width / heads) ** -0.5;
    const seen = attention(rope(q, cos, sin), rope(k, cos, sin), v, undefined, undefined, {
      causal: true,
      scale,
      position: 0,
    });
    x = add(x, seen.reshape([tokens, width]));
    x = add(x, runLayer({ ...given, x: normed(x) }).output);
    const logits = matmul(normed(x), given.table, { transposeB: true });
    return { logits, loss: mean(crossEntropy(logits, given.targets)) };
  });
}

const stacks: readonly ConformanceCase[] = [
  layerCase("decoder", "a small decoder: norm, attention, layer, loss", decoder, {
    ops: [...LAYER_OPS, ...ROPE_OPS, iota, transpose],
  }),
];

/** Cases of laws that a layer obeys, and of layers in a stack. */
export const layerLawCases: readonly ConformanceCase[] = [
  ...padding,
  ...dense,
  ...flight,
  ...stacks,
];

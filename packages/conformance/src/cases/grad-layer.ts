import {
  type Forward,
  type Module,
  type Tensor,
  add,
  apply,
  checkpoint,
  donate,
  mul,
  routeTokens,
  slice,
  sum,
  valueAndGrad,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { LAYER_GRADIENT_OPS, FFN_GRADIENT_OPS } from "./grad-fused.ts";
import { gradientCase, gradients, gradientsHold, upstreamOf, weighed } from "./grad-support.ts";
import { GPT_OSS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import {
  type Body,
  at,
  mapped,
  observed,
  present,
  referenced,
  rowsOf,
  withRow,
} from "./l3-support.ts";
import { type RoutedHosts, type RoutedTensors, routedHosts, runLayer } from "./l4-laws.ts";
import { type LayerOptions, layerOf, layerParams } from "./l4-layer-support.ts";
import { LOSSES, layerLoss } from "./l4-losses.ts";

const SHAPE = { experts: 6, topK: 2, input: 12, inner: 7 } as const;
const OPTIONS: LayerOptions = { shape: SHAPE };
const LOSING: LayerOptions = {
  ...OPTIONS,
  losses: [layerLoss("switch", 4), layerLoss("z", 0.5), layerLoss("importance", 3)],
};

const layerGradient = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase => gradientCase("L4", `layer-${what}`, demand, LAYER_GRADIENT_OPS, run);

/** The names of a layer's float inputs that are there. */
export function floatsOf(hosts: RoutedHosts): (keyof RoutedHosts)[] {
  return Object.entries(present(hosts)).flatMap(([name, { dtype }]) =>
    dtype === "f32" ? [name as keyof RoutedHosts] : [],
  );
}

const kinds: readonly (readonly [string, LayerOptions])[] = [
  ["plain", OPTIONS],
  ["rows", { ...OPTIONS, plain: true }],
  [
    "gpt-oss",
    {
      ...OPTIONS,
      bank: GPT_OSS,
      spec: { score: "identity", weight: "softmaxOfChosen", renormalize: undefined },
    },
  ],
  ["sigmoid", { ...OPTIONS, spec: { score: "sigmoid", scale: 2.5 } }],
  ["input-weights", { ...OPTIONS, spec: { site: "input" } }],
  ["shared-gate", { ...OPTIONS, merge: "gate" }],
  ["shared-softmax2", { ...OPTIONS, merge: "softmax2" }],
];

const whole: readonly ConformanceCase[] = [
  ...kinds.map(([what, options]) =>
    layerGradient(
      what,
      `every parameter and the input of a layer (${what}) get their gradient, the route held fixed`,
      async (test) => {
        const hosts = await routedHosts(test, options, 21);
        const body = (given: RoutedTensors): Tensor => runLayer(given, options).output;
        // Gradients of logits cancel, and where they do few digits are left.
        await gradientsHold(test, hosts, floatsOf(hosts), body, { ambiguous: 0.1 });
      },
    ),
  ),
  layerGradient(
    "own-routing",
    "a layer that routes itself has the gradients of the choices that it made",
    async (test) => {
      const replayed = await routedHosts(test, OPTIONS, 33);
      const own = { ...replayed, indices: undefined };
      const wrt = floatsOf(replayed);
      const program = gradients<RoutedHosts>(wrt, (given) => runLayer(given, OPTIONS).output);
      const { indices } = await observed(test, own, (given: RoutedTensors) => {
        const { routing } = runLayer(given, OPTIONS);
        return routing.kind === "token-choice" ? { indices: routing.indices } : {};
      });
      const got = await observed(test, own, program);
      const wanted = await referenced(test, { ...replayed, indices }, program);
      for (const name of wrt) test.within(name, at(got, name), at(wanted, name));
    },
  ),
];

const router: readonly ConformanceCase[] = [
  layerGradient(
    "router-path",
    "the task's loss reaches the router through the weights of what it chose",
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 21);
      const program = gradients<RoutedHosts>(["router"], (given) => runLayer(given).output);
      const wanted = at(await referenced(test, hosts, program), "router");
      const got = at(await observed(test, hosts, program), "router");
      test.within("router", got, wanted);
      test.expect(
        got.data.some((value) => value !== 0),
        "no gradient reaches the router",
      );
    },
  ),
  layerGradient(
    "choice-frozen",
    "where weights are a softmax of the chosen, experts that were not chosen get exactly 0",
    async (test) => {
      const spec = { experts: 7, topK: 3, score: "identity", weight: "softmaxOfChosen" } as const;
      const inputs = { logits: test.random.normal([15, 7]) };
      const routed = await referenced(test, inputs, ({ logits }) => ({
        indices: routeTokens(spec, { logits }).indices,
      }));
      const program = gradients<typeof inputs>(
        ["logits"],
        ({ logits }) => routeTokens(spec, { logits }).outputWeights,
      );
      const wanted = at(await referenced(test, inputs, program), "logits");
      const got = at(await observed(test, inputs, program), "logits");
      test.within("logits", got, wanted);
      for (const [token, row] of rowsOf(got).entries()) {
        const chosen = at(routed, "indices").values.subarray(token * 3, token * 3 + 3);
        for (const [expert, value] of row.entries()) {
          if (chosen.includes(expert)) continue;
          test.expect(value === 0, `token ${token} did not choose ${expert}, which got ${value}`);
        }
      }
    },
  ),
  ...Object.entries(LOSSES).map(([name, evaluate]) =>
    layerGradient(
      `balance-${name}`,
      `the ${name} loss moves logits through probabilities, its counts held constant`,
      (test) =>
        gradientsHold(test, { logits: test.random.normal([30, 6]) }, ["logits"], ({ logits }) =>
          evaluate(routeTokens({ experts: 6, topK: 2, score: "softmax" }, { logits })),
        ),
    ),
  ),
  layerGradient(
    "auxiliary-path",
    "balance losses reach the router beside the task's loss",
    async (test) => {
      const hosts = await routedHosts(test, LOSING, 25);
      const program = (task: number): Body<RoutedHosts> =>
        gradients<RoutedHosts>(["router"], (given, run) => {
          const { output, losses } = runLayer(given, LOSING);
          const total = losses
            .map(({ value, coefficient }) => mul(value, coefficient))
            .reduce((sum, one) => add(sum, one));
          return add(total, mul(weighed(run, output), task));
        });
      for (const task of [0, 1]) {
        const wanted = at(await referenced(test, hosts, program(task)), "router");
        const got = at(await observed(test, hosts, program(task)), "router");
        test.within(task === 0 ? "router of balance losses" : "router of both", got, wanted);
      }
    },
  ),
];

const zeros: readonly ConformanceCase[] = [
  gradientCase(
    "L3",
    "unused-experts",
    "experts that nobody chose get a gradient of exactly 0",
    FFN_GRADIENT_OPS,
    async (test) => {
      for (const bank of [USUAL, GPT_OSS]) {
        const shape = { tokens: 33, experts: 6, topK: 2, input: 9, inner: 5 };
        const hosts = ffnHosts(test, bank, shape);
        const used = mapped(hosts.indices, (_, place) => [1, 4][place % 2] ?? 1);
        const wrt = (["up", "down", "upBias", "downBias"] as const).filter((name) => hosts[name]);
        const got = await observed(
          test,
          { ...hosts, indices: used },
          gradients<typeof hosts>(wrt, (given) => ffn(given, bank.descriptor)),
        );
        for (const name of wrt) {
          for (const [expert, row] of rowsOf(at(got, name)).entries()) {
            const isUsed = expert === 1 || expert === 4;
            test.expect(
              row.some((value) => value !== 0) === isUsed,
              `${name}: expert ${expert} was ${isUsed ? "" : "not "}chosen, but its gradient says otherwise`,
            );
          }
        }
      }
    },
  ),
  gradientCase(
    "L3",
    "nan-token",
    "NaN in one token reaches the input gradients of no other",
    FFN_GRADIENT_OPS,
    async (test) => {
      const hosts = ffnHosts(test, USUAL, { tokens: 33, experts: 3, topK: 2, input: 9, inner: 5 });
      const program = gradients<typeof hosts>(["x", "outputWeights"], (given) =>
        ffn(given, USUAL.descriptor),
      );
      const wanted = await referenced(test, hosts, program);
      const got = await observed(test, { ...hosts, x: withRow(hosts.x, 5, Number.NaN) }, program);
      const clean = await observed(test, hosts, program);
      for (const name of ["x", "outputWeights"]) {
        const [dirty, own] = [at(got, name), at(clean, name)];
        const width = own.shape[1] ?? 1;
        const data = dirty.data.slice();
        data.set(rowsOf(own)[5] ?? [], 5 * width);
        test.within(`${name} of other tokens`, { ...dirty, data }, at(wanted, name));
      }
    },
  ),
];

/**
 * Two layers, each run again in the backward where `again` says so. The first chooses by exact inputs,
 * the second plays choices back.
 */
function stackOf(options: LayerOptions, again: boolean): Module<RoutedTensors, object, [], Tensor> {
  return {
    init: () => ({ params: {} as RoutedTensors, state: {} }),
    *forward(given): Forward<Tensor> {
      let x = given.x;
      for (let block = 0; block < 2; block++) {
        const input = x;
        const layer = layerOf(block === 0 ? options : { ...options, indices: given.indices });
        const forward = () => layer.forward(layerParams(given), { router: {} }, input);
        const { output } = again ? yield* checkpoint(forward) : yield* forward();
        x = add(input, mul(output, 0.05));
      }
      return x;
    },
  };
}

const repeated: readonly ConformanceCase[] = [
  layerGradient(
    "checkpoint",
    "layers that are run again in the backward give the gradients of those that are not",
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 19);
      const wrt = floatsOf(hosts);
      const body = (again: boolean): Body<RoutedHosts> =>
        gradients<RoutedHosts>(wrt, (given) => apply(stackOf(OPTIONS, again), given, {}));
      const wanted = await referenced(test, hosts, body(false));
      const [once, twice] = [
        await observed(test, hosts, body(false)),
        await observed(test, hosts, body(true)),
      ];
      for (const name of wrt) {
        const bounded = at(wanted, name);
        test.within(name, at(once, name), bounded);
        test.within(`${name} with checkpoints`, at(twice, name), bounded);
      }
    },
  ),
  layerGradient(
    "accumulated",
    "gradients of parts, added up in donated accumulators, are those of the whole batch",
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 24);
      const wrt = ["router", "up", "down"] as const;
      const whole = gradients<RoutedHosts>(wrt, (given) => runLayer(given).output);
      const wanted = await referenced(test, hosts, whole);
      const got = await observed(test, hosts, (given: RoutedTensors, run) => {
        const upstream = upstreamOf(run, given.x);
        let totals: Record<string, Tensor> | undefined;
        for (let part = 0; part < 3; part++) {
          const rows = (tensor: Tensor): Tensor =>
            slice(tensor, { starts: [part * 8, 0], sizes: [8, tensor.shape[1] ?? 0] });
          const indices = given.indices && rows(given.indices);
          const { grads } = valueAndGrad((params: Record<(typeof wrt)[number], Tensor>) => {
            const { output } = runLayer({ ...given, ...params, x: rows(given.x), indices });
            return sum(mul(output, rows(upstream)));
          })({ router: given.router, up: given.up, down: given.down });
          const found = grads as Record<string, Tensor>;
          const before = totals;
          totals = before
            ? Object.fromEntries(
                wrt.map((name) => [name, add(donate(at(before, name)), at(found, name))]),
              )
            : found;
        }
        return { ...totals };
      });
      for (const name of wrt) test.within(name, at(got, name), at(wanted, name));
    },
  ),
];

/** Gradients of layers. */
export const layerGradientCases: readonly ConformanceCase[] = [
  ...whole,
  ...router,
  ...zeros,
  ...repeated,
];

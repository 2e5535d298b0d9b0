import { matmul, segmentSum } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { alwaysSameBits } from "./extension-deterministic.ts";
import {
  FFN_OPS,
  type FfnHosts,
  type FfnTensors,
  USUAL,
  bankHosts,
  choices,
  ffn,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { type Body, at, caseOf, mapped, observed, pickRows } from "./l3-support.ts";

const PLAIN = { descriptor: { activation: "identity" } } as const;
const SHAPE = { tokens: 65, experts: 16, topK: 8, input: 12, inner: 7 } as const;

/** A bank whose experts' outputs are exact, so that the order of the last sum alone can show. */
function exactHosts({ random }: CaseContext): FfnHosts {
  const whole = (shape: readonly number[]): HostTensor =>
    mapped(random.uniform(shape, -3, 3), (value) => Math.round(value));
  return {
    x: whole([SHAPE.tokens, SHAPE.input]),
    indices: choices(random, SHAPE),
    outputWeights: random.uniform([SHAPE.tokens, SHAPE.topK], 0.5, 2),
    inputWeights: undefined,
    ...bankHosts(random, PLAIN, SHAPE, whole),
  };
}

/** The same bank with its experts under other numbers. */
function renamed(hosts: FfnHosts, names: readonly number[]): FfnHosts {
  const { shape, data } = hosts.indices;
  const former = names.map((_, name) => names.indexOf(name));
  return {
    ...hosts,
    indices: generated(shape, "i32", (place) => names[data[place] ?? 0] ?? 0),
    up: pickRows(hosts.up, former),
    down: pickRows(hosts.down, former),
  };
}

/** The order of sums: of a token's many choices, and of the rows of an id. */
export const orderCases: readonly ConformanceCase[] = [
  caseOf("L3", "moe-ffn/choice-order", {
    demand:
      "experts' outputs are added in the order of choices: renaming the experts changes no bit",
    extension: "deterministic",
    ops: FFN_OPS,
    async run(test) {
      const hosts = exactHosts(test);
      const body: Body<FfnHosts> = (given) => ({
        y: ffn(given as FfnTensors, PLAIN.descriptor),
      });
      const names = [...test.random.permutation(SHAPE.experts).data];
      const [straight, other] = [
        await observed(test, hosts, body),
        await observed(test, renamed(hosts, names), body),
      ];
      test.same("y", at(other, "y").data, at(straight, "y").data);
    },
  }),
  caseOf("L3", "deterministic/many-choices", {
    demand: "the sum of eight experts' outputs has the same bits in every run",
    extension: "deterministic",
    ops: [...FFN_OPS, matmul],
    run: (test) =>
      alwaysSameBits(test, ffnHosts(test, USUAL, SHAPE), (given) => ({
        y: ffn(given as FfnTensors, USUAL.descriptor),
      })),
  }),
  caseOf("L2", "deterministic/segment-sum", {
    demand: "sums of many rows of one id have the same bits in every run",
    extension: "deterministic",
    ops: [segmentSum, matmul],
    run(test) {
      const { random } = test;
      const ids = generated([3001], "i32", (row) => Math.floor(row / 1000));
      const hosts = { rows: random.normal([3001, 12]), ids };
      return alwaysSameBits(test, hosts, ({ rows, ids: of }) => ({
        sums: segmentSum(rows, of, { segments: 4 }),
      }));
    },
  }),
];

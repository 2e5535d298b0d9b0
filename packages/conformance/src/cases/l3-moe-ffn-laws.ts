import { add, gelu, matmul, mul, slice } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { BANKS, FFN_OPS, GPT_OSS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { checkFfn, ffnCase } from "./l3-moe-ffn.ts";
import {
  agreeing,
  at,
  constant,
  mapped,
  observed,
  pickRows,
  referenced,
  sameRun,
  staysInRow,
} from "./l3-support.ts";

const SHAPE = { tokens: 33, experts: 5, topK: 2, input: 12, inner: 7 } as const;

/** Whole numbers from −3 to 3: sums and products of many stay exact. */
const small =
  (integers: (shape: readonly number[], low: number, high: number) => HostTensor) =>
  (shape: readonly number[]): HostTensor =>
    mapped(
      { ...constant(shape, 0), data: Float32Array.from(integers(shape, -3, 3).data) },
      (v) => v,
    );

const values: readonly ConformanceCase[] = [
  ffnCase(
    "exact",
    "small whole numbers come out exact: a swapped row, a lost tile or a wrong group shows",
    async (test) => {
      const bank = { descriptor: { activation: "relu" } } as const;
      const shape = { tokens: 130, experts: 8, topK: 3, input: 20, inner: 17, output: 19 };
      const hosts = ffnHosts(test, bank, shape, small(test.random.integers));
      const outputWeights = mapped(
        hosts.outputWeights,
        (_, index) => [1, 0.5, 2, 0.25][index % 4] ?? 1,
      );
      await checkFfn(test, { ...hosts, outputWeights }, bank);
    },
  ),
  ffnCase(
    "all-positive",
    "long sums of positive numbers are held in the accumulation that the manifest declares",
    async (test) => {
      const bank = { descriptor: { activation: "identity" } } as const;
      const shape = { tokens: 2, experts: 1, topK: 1, input: 1025, inner: 2, output: 2 };
      const positive = (of: readonly number[]): HostTensor => test.random.uniform(of, 0.5, 1.5);
      await checkFfn(test, ffnHosts(test, bank, shape, positive), bank);
      await checkFfn(
        test,
        ffnHosts(test, bank, { ...shape, input: 2, inner: 1025 }, positive),
        bank,
      );
    },
  ),
  ffnCase(
    "saturated",
    "hidden values of ±10⁴ saturate activations and stay finite",
    async (test) => {
      for (const name of ["gelu", "gelu-tanh", "silu", "gpt-oss"]) {
        const bank = BANKS[name] ?? USUAL;
        const hosts = ffnHosts(test, bank, { ...SHAPE, tokens: 6 });
        await checkFfn(test, { ...hosts, x: mapped(hosts.x, (value) => value * 1e4) }, bank);
      }
    },
  ),
];

const poison: readonly ConformanceCase[] = [
  ["nan-token", 33, 2],
  ["nan-token-decode", 3, 2],
  ["nan-token-tile", 130, 1],
].map(([what, tokens, topK]) =>
  ffnCase(
    String(what),
    `of ${tokens} tokens one is NaN: its output is NaN, and the others' are as without it`,
    async (test) => {
      for (const bank of [USUAL, GPT_OSS]) {
        const hosts = ffnHosts(test, bank, {
          ...SHAPE,
          tokens: Number(tokens),
          topK: Number(topK),
        });
        // All share one expert with the poisoned token.
        const indices = mapped(hosts.indices, (expert, place) =>
          place % Number(topK) === 0 ? 3 : (expert + 1) % 3,
        );
        await staysInRow(test, { ...hosts, indices }, "x", 1, (given) => ({
          y: ffn(given, bank.descriptor),
        }));
      }
    },
  ),
);

const laws: readonly ConformanceCase[] = [
  ffnCase(
    "nan-weights",
    "an expert whose weights are NaN touches only the tokens that chose it",
    async (test) => {
      const hosts = ffnHosts(test, USUAL, { ...SHAPE, experts: 6 });
      const clean = { ...hosts, indices: mapped(hosts.indices, (expert) => expert % 5) };
      const size = hosts.up.data.length / 6;
      const up = mapped(hosts.up, (value, index) => (index >= 5 * size ? Number.NaN : value));
      const body = (given: Parameters<typeof ffn>[0]): Record<string, ReturnType<typeof ffn>> => ({
        y: ffn(given, USUAL.descriptor),
      });
      const bounded = at(await referenced(test, clean, body), "y");
      const before = at(await observed(test, clean, body), "y");
      const after = at(await observed(test, { ...clean, up }, body), "y");
      sameRun(test, "tokens of other experts", after, before, bounded);
    },
  ),
  ffnCase(
    "twice-down",
    "a down projection twice as large gives outputs exactly twice as large",
    async (test) => {
      const hosts = ffnHosts(test, USUAL, SHAPE);
      const double = (value: number): number => 2 * value;
      const body = (given: Parameters<typeof ffn>[0]): Record<string, ReturnType<typeof ffn>> => ({
        y: ffn(given, USUAL.descriptor),
      });
      const doubled = { ...hosts, down: mapped(hosts.down, double) };
      const bounded = at(await referenced(test, doubled, body), "y");
      const once = at(await observed(test, hosts, body), "y");
      const twice = at(await observed(test, doubled, body), "y");
      sameRun(test, "outputs", twice, mapped(once, double), bounded);
    },
  ),
  ffnCase(
    "identical-experts",
    "equal experts whose weights sum to 1 are one dense network",
    async (test) => {
      const bank = { descriptor: { activation: "gelu" } } as const;
      const shape = { ...SHAPE, experts: 4 };
      const hosts = ffnHosts(test, bank, shape);
      const equal = (tensor: HostTensor): HostTensor => {
        const size = tensor.data.length / 4;
        return mapped(tensor, (_, index) => tensor.data[index % size] ?? 0);
      };
      const inputs = {
        ...hosts,
        up: equal(hosts.up),
        down: equal(hosts.down),
        outputWeights: mapped(hosts.outputWeights, (_, index) => (index % 2 === 0 ? 0.25 : 0.75)),
      };
      await agreeing(
        test,
        inputs,
        (given) => {
          const first = (tensor: typeof given.up): typeof given.up =>
            slice(tensor, { starts: [0, 0, 0], sizes: tensor.shape.with(0, 1) }).reshape(
              tensor.shape.slice(1),
            );
          const hidden = gelu(matmul(given.x, first(given.up), { transposeB: true }));
          return {
            experts: ffn(given, bank.descriptor),
            dense: matmul(hidden, first(given.down), { transposeB: true }),
          };
        },
        [["experts", "dense"]],
      );
    },
    { ops: [...FFN_OPS, matmul] },
  ),
  ffnCase(
    "sum-of-choices",
    "the output is the weighted sum of the outputs of each choice alone",
    async (test) => {
      const hosts = ffnHosts(test, USUAL, SHAPE);
      const tokens = hosts.x.shape[0] ?? 0;
      await agreeing(
        test,
        hosts,
        (given) => {
          const alone = (choice: number): typeof given.x => {
            const column = (tensor: typeof given.x): typeof given.x =>
              slice(tensor, { starts: [0, choice], sizes: [tokens, 1] });
            return mul(
              ffn(
                {
                  ...given,
                  indices: column(given.indices),
                  outputWeights: constantLike(column(given.outputWeights)),
                },
                USUAL.descriptor,
              ),
              column(given.outputWeights),
            );
          };
          return { together: ffn(given, USUAL.descriptor), apart: add(alone(0), alone(1)) };
        },
        [["together", "apart"]],
      );
    },
  ),
  ffnCase("permuted-tokens", "permuted tokens have permuted outputs", async (test) => {
    const hosts = ffnHosts(test, GPT_OSS, SHAPE);
    const order = [...test.random.permutation(SHAPE.tokens).data];
    const { x, indices, outputWeights } = hosts;
    const permuted = {
      ...hosts,
      x: pickRows(x, order),
      indices: pickRows(indices, order),
      outputWeights: pickRows(outputWeights, order),
    };
    const body = (given: Parameters<typeof ffn>[0]): Record<string, ReturnType<typeof ffn>> => ({
      y: ffn(given, GPT_OSS.descriptor),
    });
    const bounded = at(await referenced(test, permuted, body), "y");
    const plain = at(await observed(test, hosts, body), "y");
    const got = at(await observed(test, permuted, body), "y");
    test.within("permuted", got, bounded);
    const wanted = pickRows(plain, order);
    if (test.capabilities.batchInvariant) test.same("permuted", got.data, wanted.data);
  }),
];

/** Ones of a tensor's shape, without an op of its own. */
function constantLike<T extends ReturnType<typeof ffn>>(tensor: T): ReturnType<typeof ffn> {
  return add(mul(tensor, 0), 1);
}

/** Cases of `moeFfn` by value, poison and law. */
export const moeFfnLawCases: readonly ConformanceCase[] = [...values, ...poison, ...laws];

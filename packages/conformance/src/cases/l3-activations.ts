import { type FfnDescriptor, activate, relu } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { hostTensor } from "../host-tensor.ts";
import { ACTIVATION_OPS, BANKS } from "./l3-ffn-support.ts";
import { at, caseOf, holds, observed } from "./l3-support.ts";

/** The descriptors that differ between the projections; layout of weights does not matter there. */
const NAMES = [
  "relu",
  "relu-squared",
  "gelu",
  "gelu-tanh",
  "silu",
  "silu-alpha",
  "identity",
  "gated-concatenated-gate-first",
  "gated-concatenated-up-first",
  "gated-interleaved-gate-first",
  "gated-interleaved-up-first",
  "gated-relu",
  "gated-gelu",
  "gated-gelu-tanh",
  "clamp-before",
  "clamp-after",
  "up-offset",
  "gpt-oss",
] as const;

/** Zeros of both signs, both sides of kinks, and far out on both. */
const POINTS = [
  0, -0, 1e-6, -1e-6, 0.5, -0.5, 1, -1, 4, -4, 12, -12, 90, -90, 1e4, -1e4, 1e6, -1e6,
];

async function activation(test: CaseContext, descriptor: FfnDescriptor): Promise<void> {
  const x = test.random.normal([9, 34], 2);
  const block = test.random.normal([2, 3, 10], 2);
  const points = hostTensor(POINTS, "f32", [1, POINTS.length]);
  const none = hostTensor([], "f32", [0, 8]);
  await holds(
    test,
    { x, block, points, none },
    (given) => ({
      x: activate(given.x, descriptor),
      block: activate(given.block, descriptor),
      points: activate(given.points, descriptor),
      none: activate(given.none, descriptor),
    }),
    // Beside values of 1e10 the small ones of a row have wide bounds of their own.
    { ambiguous: 0.25 },
  );
}

/** Cases of the part between the projections. */
export const activationCases: readonly ConformanceCase[] = [
  ...NAMES.map((name) =>
    caseOf("L3", `activation/${name}`, {
      demand: `the activation of a ${name} bank follows its descriptor, far out too`,
      ops: ACTIVATION_OPS,
      run: (test) => activation(test, BANKS[name]?.descriptor ?? { activation: "identity" }),
    }),
  ),
  caseOf("L3", "activation/relu-nan", {
    demand: "relu keeps NaN and gives exactly 0 at and below 0",
    ops: ACTIVATION_OPS,
    async run(test) {
      const x = hostTensor([Number.NaN, -1, 0, 2, -3e38, 1e-30]);
      const y = at(await observed(test, { x }, (given) => ({ y: relu(given.x) })), "y");
      const [nan = 0, ...rest] = y.data;
      test.expect(Number.isNaN(nan), `relu of NaN is ${nan}`);
      const wanted = [0, 0, 2, 0, Math.fround(1e-30)];
      for (const [index, value] of wanted.entries()) {
        test.expect(rest[index] === value, `relu gives ${rest[index]} instead of ${value}`);
      }
    },
  }),
];

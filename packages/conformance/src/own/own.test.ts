import { create } from "@moiety/backend-cpu";
import {
  type Backend,
  type ExpertBank,
  type Router,
  type Tensor,
  ConfigError,
  customGradient,
  matmul,
  mul,
  square,
  stopGradient,
  sum,
  topK,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ConformanceCase } from "../case.ts";
import { USUAL } from "../cases/l3-ffn-support.ts";
import { ffnBank } from "../cases/l4-layer-support.ts";
import { complaints, hold, noting, withStatus } from "../cases/testing/hold.ts";
import { claiming, planted } from "../cases/testing/planted.ts";
import { conform } from "../conform.ts";
import { wrongAt } from "../testing/spoiled.ts";
import { usualRouter, bankCases } from "./bank-cases.ts";
import { controllerCase } from "./controller-case.ts";
import { gradientCase } from "./gradient-case.ts";
import { lossCases } from "./loss-cases.ts";
import { programCase } from "./program-case.ts";
import { routerCases } from "./router-cases.ts";

const product: ConformanceCase = programCase({
  id: "L3/own/product",
  demand: "x · wᵀ and its best column",
  inputs: ({ random }) => ({ x: random.normal([7, 4]), w: random.normal([5, 4]) }),
  program({ inputs: { x, w } }) {
    const y = matmul(x, w, { transposeB: true });
    return { y, best: topK(y, undefined, { k: 1 })[1] };
  },
});

const slope: ConformanceCase = gradientCase({
  id: "L3/grad/own/product",
  demand: "the gradient of (x · wᵀ)²",
  inputs: ({ random }) => ({ x: random.normal([7, 4]), w: random.normal([5, 4]) }),
  wrt: ["x", "w"],
  program: ({ inputs: { x, w } }) => ({ y: square(matmul(x, w, { transposeB: true })) }),
});

const router: Router<unknown, unknown> = usualRouter({ experts: 6, inputSize: 4 });
const shape = { experts: 6, topK: 1, input: 4, inner: 3 } as const;
const bank = ffnBank(USUAL.descriptor, shape) as ExpertBank<unknown>;

describe("a case of one's own", () => {
  it("passes on the oracle beside the kit's cases", async () => {
    const report = await conform({
      createBackend: () => create(),
      profile: "training",
      expected: "yardstick",
      extra: [product, slope],
      cases: ["L0/scope/frees", "L3/own/", "L3/grad/own/"],
    });
    expect(complaints(report)).toEqual([]);
    expect(report.cases.map(({ id, level }) => [id, level])).toEqual([
      ["L0/scope/frees", "L0"],
      ["L3/own/product", "L3"],
      ["L3/grad/own/product", "L3"],
    ]);
  });

  it("fails where a product, a choice or a gradient is wrong", async () => {
    const failures = async (backend: Backend): Promise<string[]> =>
      withStatus(await hold([product, slope], () => backend), "fail");
    expect(await failures(wrongAt("matmul"))).toEqual([product.id, slope.id]);
    const other = planted("topK", ({ integers }) => void integers(1).fill(5, 0, 1));
    expect(await failures(other)).toEqual([product.id]);
    const doubled = planted("binary", ({ call, floats }) => {
      // Only the backward multiplies two tensors of that size.
      if (call.attributes["kind"] !== "mul" || floats(0).length !== 35) return;
      for (const [at, value] of floats(0).entries()) floats(0)[at] = 1.01 * value;
    });
    expect(await failures(doubled)).toEqual([slope.id]);
  });

  it("needs the kernels of its profile unless it names others", () => {
    const names = ({ ops }: ConformanceCase): string[] => ops.map(({ name }) => name);
    expect(names(product)).toContain("groupRows");
    expect(names(product)).not.toContain("segmentSum");
    expect(names(slope)).toContain("segmentSum");
    const { ops } = programCase({
      id: "L1/own/x",
      demand: "",
      ops: [matmul],
      inputs: () => ({}),
      program: () => ({}),
    });
    expect(ops).toEqual([matmul]);
  });

  it("is unsupported where the manifest lacks one of them, never a pass", async () => {
    const without = (name: string) => () => {
      const { ops } = claiming({}).capabilities;
      return claiming({ ops: ops.filter((op) => op !== name) });
    };
    const report = await hold([product, slope], without("segmentSum"));
    expect(report.cases.map(({ status }) => status)).toEqual(["pass", "unsupported"]);
    expect(report.cases[1]?.reason).toMatch(/no kernel of segmentSum/);
  });

  it.each(["mine", "L9/x/y", "L1", "L1/", "L1/two words"])("refuses the id %s", (id) => {
    const parts = { id, demand: "", inputs: () => ({}), program: () => ({}) };
    expect(() => programCase(parts)).toThrow(ConfigError);
    expect(() => programCase(parts)).toThrow(`"${id}"`);
  });

  it("may not have another case's id", async () => {
    const running = conform({ createBackend: () => create(), extra: [product, product] });
    await expect(running).rejects.toThrow(/two cases have the id "L3\/own\/product"/);
  });

  it("is the kit's error where a gradient is not that of the function", async () => {
    const estimate = (ofFunction: boolean): ConformanceCase =>
      gradientCase({
        id: "L0/grad/own/estimate",
        demand: "twice x, with the gradient of x",
        inputs: ({ random }) => ({ x: random.normal([9]) }),
        ofFunction,
        program: ({ inputs: { x } }) => ({
          y: customGradient((value: Tensor) => ({
            outputs: [mul(value, 2)] as const,
            gradient: ([gradient]) => [gradient],
          }))(x)[0],
        }),
      });
    const run = (testCase: ConformanceCase) => hold([testCase], () => create());
    expect(complaints(await run(estimate(false)))).toEqual([]);
    expect(complaints(await run(estimate(true)))).toEqual([
      expect.stringMatching(/error: the oracle's own gradient gives .*, its difference/),
    ]);
  });

  it("is the kit's error where nothing flows back", async () => {
    const still = (wrt?: readonly "x"[]): ConformanceCase =>
      gradientCase({
        id: "L0/grad/own/still",
        demand: "x, as a constant",
        inputs: ({ random }) => ({ x: random.normal([9]) }),
        program: ({ inputs: { x } }) => ({ y: mul(stopGradient(x), 2) }),
        wrt,
      });
    const told = async (testCase: ConformanceCase): Promise<string[]> =>
      complaints(await hold([testCase], () => create()));
    expect(await told(still(["x"]))).toEqual([expect.stringMatching(/nothing flows back to x$/)]);
    expect(await told(still())).toEqual([
      expect.stringMatching(/: error: nothing flows back to any input$/),
    ]);
  });
});

describe("cases of parts", () => {
  const loss = {
    name: "spread",
    coefficient: 1,
    evaluate: (routings: readonly { readonly scores: Tensor }[]) =>
      sum(square(routings[0]?.scores as Tensor)),
  };
  const cases: readonly ConformanceCase[] = [
    ...routerCases({ name: "own/linear", router, losses: [loss] }),
    ...bankCases({ name: "own/bank", experts: bank }),
    ...lossCases({ name: "own/spread", losses: () => [loss] }),
    controllerCase({
      name: "own/controller",
      router,
      update: (_state, { scores }) => ({ seen: sum(scores, [0]) }),
    }),
  ];

  it("pass on the oracle, have different ids, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting();
    const report = await hold(cases, make, {
      expected: "yardstick",
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(unnamed(cases)).toEqual([]);
    expect(cases.map(({ id }) => id)).toEqual([
      "L1/own/linear",
      "L1/grad/own/linear",
      "L2/own/linear",
      "L4/own/linear",
      "L4/grad/own/linear",
      "L3/own/bank",
      "L3/grad/own/bank",
      "L4/own/bank",
      "L4/grad/own/bank",
      "L4/own/spread",
      "L4/grad/own/spread",
      "L4/own/controller",
    ]);
  });

  const FAULTS: readonly (readonly [string, () => Backend, readonly string[]])[] = [
    [
      "choices of the last token are another's",
      () =>
        planted("topK", ({ integers }) => {
          const ids = integers(1);
          ids[ids.length - 1] = ((ids[ids.length - 1] ?? 0) + 1) % 6;
        }),
      ["L1/own/linear", "L1/grad/own/linear", "L4/own/linear"],
    ],
    [
      "rows of the last group are off by one",
      () =>
        planted("groupRows", ({ integers }) => {
          const offsets = integers(2);
          offsets[offsets.length - 2] = (offsets[offsets.length - 2] ?? 0) - 1;
        }),
      ["L2/own/linear", "L3/own/bank", "L4/own/bank"],
    ],
    [
      "gradients of weights of experts are a little large",
      () =>
        planted("groupedMatmulGradWeights", ({ floats }) => {
          for (const [at, value] of floats(0).entries()) floats(0)[at] = 1.001 * value;
        }),
      ["L3/grad/own/bank", "L4/grad/own/bank", "L4/grad/own/linear"],
    ],
    [
      "sums miss a little",
      () =>
        planted("reduce", ({ call, floats }) => {
          if (call.outputs[0]?.dtype !== "f32") return;
          for (const [at, value] of floats(0).entries()) floats(0)[at] = value + 0.01;
        }),
      ["L4/own/spread", "L4/own/controller"],
    ],
  ];
  it.each(FAULTS)("catch a backend where %s", async (_, make, caughtBy) => {
    const report = await hold(cases, make, { cases: caughtBy });
    expect(withStatus(report, "fail").sort()).toEqual([...caughtBy].sort());
  });

  it("let an estimate's choices be judged, and played back", async () => {
    const seen: number[] = [];
    const judged = (verdict: string | undefined): readonly ConformanceCase[] =>
      routerCases({
        name: "own/judged",
        router,
        judge(chosen, { selected }) {
          seen.push(chosen.data.length, selected?.values.length ?? 0);
          return verdict;
        },
      }).filter(({ id }) => id.startsWith("L1/grad/"));
    expect(complaints(await hold(judged(undefined), () => create()))).toEqual([]);
    expect(seen).toEqual([36, 36]);
    expect(complaints(await hold(judged("odd"), () => create()))).toEqual([
      "L1/grad/own/judged: fail: the choices in training: odd",
    ]);
  });
});

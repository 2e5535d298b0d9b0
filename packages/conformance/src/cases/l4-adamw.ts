import { type AdamWAttributes, type Tensor, adamW, binary, donate, sub, unary } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { at, caseOf, constant, holds, observed, referenced, sameRun } from "./l3-support.ts";

const RATES: Omit<AdamWAttributes, "step"> = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
};

type AdamHosts = {
  readonly parameter: HostTensor;
  readonly first: HostTensor;
  readonly second: HostTensor;
  readonly gradient: HostTensor;
};

function hostsOf({ random }: CaseContext, shape: readonly number[]): AdamHosts {
  return {
    parameter: random.normal(shape),
    first: constant(shape, 0),
    second: constant(shape, 0),
    gradient: random.normal(shape),
  };
}

/** Some steps in a row; the gradient shrinks from step to step. */
function steps(
  given: { readonly [Name in keyof AdamHosts]: Tensor },
  attributes: Partial<AdamWAttributes>,
  count: number,
  pass: (tensor: Tensor) => Tensor,
): Record<string, Tensor> {
  const { step: from = 1, ...rates } = { ...RATES, ...attributes };
  // Copies, so that there is something to donate that nobody else holds.
  let [parameter, first, second] = [given.parameter, given.first, given.second].map((tensor) =>
    sub(tensor, 0),
  ) as [Tensor, Tensor, Tensor];
  for (let step = from; step < from + count; step++) {
    const gradient = sub(given.gradient, 0.1 * (step - from));
    [parameter, first, second] = adamW(pass(parameter), gradient, pass(first), pass(second), {
      ...rates,
      step,
    });
  }
  return { parameter, first, second };
}

const same = (tensor: Tensor): Tensor => tensor;

const adamCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase =>
  caseOf("L4", `adam-w/${what}`, { demand, extension: "grad", ops: [binary, unary], run });

const attributeCase = (
  what: string,
  demand: string,
  attributes: Partial<AdamWAttributes>,
): ConformanceCase =>
  adamCase(what, demand, (test) =>
    holds(test, hostsOf(test, [7, 9]), (given) => steps(given, attributes, 2, same)),
  );

/** Cases of the optimizer's step. */
export const adamWCases: readonly ConformanceCase[] = [
  attributeCase("usual", "parameter and both moments follow the rule", {}),
  attributeCase("no-decay", "without weight decay the parameter moves by the moments alone", {
    weightDecay: 0,
  }),
  attributeCase("decay", "weight decay is decoupled: it scales the parameter alone", {
    weightDecay: 0.9,
    learningRate: 0.5,
  }),
  attributeCase("epsilon", "epsilon stands beside the root", { epsilon: 0.5 }),
  attributeCase("betas", "each moment has a decay of its own", { beta1: 0.5, beta2: 0.75 }),
  attributeCase("late-step", "the correction of the moments fades with the step", { step: 1000 }),
  adamCase("sizes", "tensors of every size and rank", async (test) => {
    for (const shape of [[], [0], [1], [5, 0, 3], [1025], [3, 5, 7], [70_003]]) {
      await holds(test, hostsOf(test, shape), (given) => steps(given, {}, 1, same));
    }
  }),
  adamCase("ten-steps", "ten steps in a row stay within their bounds", (test) =>
    holds(test, hostsOf(test, [65]), (given) => steps(given, {}, 10, same)),
  ),
  adamCase(
    "donated",
    "donated tensors give the bits of kept ones, and kept ones are not written to",
    async (test) => {
      const hosts = hostsOf(test, [33, 5]);
      const kept = (given: Parameters<typeof steps>[0]): Record<string, Tensor> =>
        steps(given, {}, 5, same);
      const donated = (given: Parameters<typeof steps>[0]): Record<string, Tensor> =>
        steps(given, {}, 5, donate);
      const bounded = await referenced(test, hosts, kept);
      const wanted = await observed(test, hosts, kept);
      const got = await observed(test, hosts, donated);
      for (const name of ["parameter", "first", "second"]) {
        sameRun(test, name, at(got, name), at(wanted, name), at(bounded, name));
      }
    },
  ),
  adamCase("inputs-stay", "inputs that are not donated keep their values", async (test) => {
    const hosts = hostsOf(test, [130]);
    const after = await observed(test, hosts, (given) => {
      const { parameter, gradient, first, second } = given;
      adamW(parameter, gradient, first, second, { ...RATES, step: 1 });
      return Object.fromEntries(
        Object.entries(given).map(([name, tensor]) => [name, tensor.reshape(tensor.shape)]),
      );
    });
    for (const [name, { data }] of Object.entries(hosts))
      test.same(name, at(after, name).data, data);
  }),
];

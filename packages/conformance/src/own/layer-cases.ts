import {
  type ExpertBank,
  type MoeLayer,
  type ProductFormat,
  type RoutingLoss,
  type SharedBranch,
  type Tensor,
  apply,
  moe,
  mul,
} from "@moiety/core";
import type {
  CaseContext,
  CompareOptions,
  ConformanceCase,
  HostTensors,
  ProgramRun,
  Tensors,
} from "../case.ts";
import { USUAL } from "../cases/l3-ffn-support.ts";
import { lacksAny } from "../cases/quantised-support.ts";
import { ffnBank } from "../cases/l4-layer-support.ts";
import type { HostTensor } from "../host-tensor.ts";
import { holdGradients } from "./gradient-case.ts";
import { leavesOnHost, treesOf } from "./leaves.ts";
import { ownCase } from "./program-case.ts";
import { type RoutedSubject, clearInputs, contextOf, inputOf } from "./routed.ts";
import { choicesOf } from "./routing-values.ts";

/** A layer to hold a backend to. */
export interface LayerSubject extends RoutedSubject {
  /** Stands in the cases' ids behind their level. */
  readonly name: string;
  /** The bank; gated experts as wide as the router's input unless given. */
  readonly experts?: ExpertBank<unknown> | undefined;
  /** A branch beside the experts. None unless given. */
  readonly shared?: SharedBranch<unknown> | undefined;
  /** Losses of the layer. None unless given. */
  readonly losses?: readonly RoutingLoss[] | undefined;
  /** Whether its gradient is that of the function that it computes. True unless given. */
  readonly ofFunction?: boolean | undefined;
  /** How its values are compared. */
  readonly compare?: CompareOptions | undefined;
  /** How its gradients are compared. */
  readonly gradients?: CompareOptions | undefined;
  /** Formats of its weights, where some are quantised: a backend that lacks one is excused. */
  readonly formats?: readonly ProductFormat[] | undefined;
}

/** `L4/NAME`: a layer in evaluation; `L4/grad/NAME`: in training, with its gradients. */
export function layerCases(subject: LayerSubject): readonly ConformanceCase[] {
  const { name, ofFunction, gradients: compare } = subject;
  const unsupported = lacksAny(subject.formats);
  return [
    ownCase({
      id: `L4/${name}`,
      unsupported,
      demand: `a layer with ${name} routes, runs its experts and combines`,
      async run(test) {
        const { inputs } = await clearInputs(test, subject, false);
        const experts = await partsOnHost(test, subject);
        const program = (run: ProgramRun): Tensors => runLayer(run, subject, false);
        await test.compare({ ...inputs, ...experts }, program, subject.compare);
      },
    }),
    ownCase({
      id: `L4/grad/${name}`,
      demand: `a layer with ${name} in training gives its input and parameters their gradients`,
      extension: "grad",
      unsupported,
      async run(test) {
        const { inputs } = await clearInputs(test, subject, true);
        const experts = await partsOnHost(test, subject);
        const program = (run: ProgramRun): Tensors => runLayer(run, subject, true);
        await holdGradients(test, {
          inputs: { ...inputs, ...experts },
          program,
          ofFunction,
          compare,
        });
      },
    }),
  ];
}

/** Parameters of the bank and the shared branch. */
async function partsOnHost(
  test: CaseContext,
  subject: LayerSubject,
): Promise<Record<string, HostTensor>> {
  const { shared } = subject;
  return {
    ...(await leavesOnHost(test, bankOf(subject), "experts")),
    ...(shared && (await leavesOnHost(test, shared, "shared"))),
  };
}

/** The bank of a layer. */
function bankOf({ router, experts }: LayerSubject): ExpertBank<unknown> {
  const { experts: count, inputSize } = router;
  if (experts) return experts;
  const shape = { experts: count, topK: 1, input: inputSize, inner: inputSize };
  return ffnBank(USUAL.descriptor, shape) as ExpertBank<unknown>;
}

/** Output, losses times their coefficients, choices and load of a layer. */
function runLayer(run: ProgramRun<HostTensors>, subject: LayerSubject, training: boolean): Tensors {
  const { router, losses, shared } = subject;
  const experts = bankOf(subject);
  const layer: MoeLayer<unknown, unknown, unknown, unknown> = moe({
    router,
    experts,
    shared,
    losses,
  });
  const routed = treesOf(run, router, "router");
  const params = {
    router: routed.params,
    experts: treesOf(run, experts, "experts").params,
    shared: shared && treesOf(run, shared, "shared").params,
  };
  const given = contextOf(run, subject, training);
  const { output, routing, load, ...rest } = apply(
    layer,
    params,
    { router: routed.state },
    inputOf(run, "x"),
    given,
  );
  const values = rest.losses.map(({ name, value, coefficient }, at): readonly [string, Tensor] => [
    `loss ${at} ${name}`,
    mul(value, coefficient),
  ]);
  return { output, ...Object.fromEntries(values), ...choicesOf(routing), load };
}

import {
  type Backend,
  type FloatDType,
  type Router,
  type Routing,
  type RoutingLoss,
  type Tensor,
  mul,
} from "@moiety/core";
import type { CompareOptions, ConformanceCase, HostTensors, ProgramRun, Tensors } from "../case.ts";
import { usualRouter } from "./bank-cases.ts";
import { holdGradients } from "./gradient-case.ts";
import { ownCase } from "./program-case.ts";
import { type RoutedSubject, clearInputs, routeIn } from "./routed.ts";
import { choicesOf } from "./routing-values.ts";

/** Losses to hold a backend to. */
export interface LossSubject extends Omit<RoutedSubject, "router"> {
  /** Stands in the cases' ids behind their level: `my-losses/entropy`. */
  readonly name: string;
  /** Makes them for one run; tensors that they need are made on its backend, in its float dtype. */
  losses(backend: Backend, float: FloatDType): readonly RoutingLoss[];
  /** Whose routing in training they see; 2 of 6 experts by a softmax unless given. */
  readonly router?: Router<unknown, unknown> | undefined;
  /** Whether the gradient is that of the loss's value. True unless given. */
  readonly ofFunction?: boolean | undefined;
  /** How values and gradients are compared. */
  readonly compare?: CompareOptions | undefined;
}

/**
 * The cases of losses over a routing: `L4/NAME` their values for one layer and for two, `L4/grad/NAME`
 * the gradients of the router's parameters and input.
 */
export function lossCases(subject: LossSubject): readonly ConformanceCase[] {
  const { name, ofFunction, compare } = subject;
  const router = subject.router ?? usualRouter({ experts: 6, inputSize: 8 });
  const routed: RoutedSubject = { ...subject, router };
  return [
    ownCase({
      id: `L4/${name}`,
      demand: `${name} of a routing has the references' value`,
      async run(test) {
        const { inputs } = await clearInputs(test, routed, true);
        await test.compare(
          inputs,
          (run) => {
            const routing = routeIn(run, routed, true);
            return { ...valuesOf(run, subject, [routing]), ...ofTwo(run, subject, routing) };
          },
          compare,
        );
      },
    }),
    ownCase({
      id: `L4/grad/${name}`,
      demand: `${name} moves the router through its logits, its counts held constant`,
      extension: "grad",
      async run(test) {
        const { inputs } = await clearInputs(test, routed, true);
        const program = (run: ProgramRun): Tensors => {
          const routing = routeIn(run, routed, true);
          return { ...valuesOf(run, subject, [routing]), ...choicesOf(routing) };
        };
        await holdGradients(test, { inputs, program, ofFunction, compare });
      },
    }),
  ];
}

function valuesOf(
  { backend, float }: ProgramRun<HostTensors>,
  { losses }: LossSubject,
  routings: readonly Routing[],
): Record<string, Tensor> {
  const entries = losses(backend, float).map(({ name, evaluate }, at) => [
    `${name} ${at} of ${routings.length}`,
    evaluate(routings),
  ]);
  return Object.fromEntries(entries) as Record<string, Tensor>;
}

/** The same of two layers, the second with half the logits and scores. */
function ofTwo(
  run: ProgramRun<HostTensors>,
  subject: LossSubject,
  routing: Routing,
): Record<string, Tensor> {
  const { logits, scores } = routing;
  const second = { ...routing, logits: mul(logits, 0.5), scores: mul(scores, 0.5) };
  return valuesOf(run, subject, [routing, second]);
}

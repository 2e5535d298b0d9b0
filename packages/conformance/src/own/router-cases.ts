import type {
  BoundedValues,
  CaseContext,
  ConformanceCase,
  HostTensors,
  ProgramRun,
  Tensors,
} from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { floatsOf, holdGradients } from "./gradient-case.ts";
import { type LayerSubject, layerCases } from "./layer-cases.ts";
import { PERMUTED, permuted } from "./permuted.ts";
import { inferenceOps, ownCase, trainingOps } from "./program-case.ts";
import { type RoutedSubject, asHost, clearInputs, routeIn } from "./routed.ts";
import { carriedBy, choicesOf, routingValues, weightsOf } from "./routing-values.ts";

/**
 * A router to hold a backend to. Its `ofFunction` is false for estimators, whose gradient is another
 * than that of what they compute.
 */
export type RouterSubject = LayerSubject;

/**
 * The cases of a router: `L1/NAME` its routing in evaluation, `L1/grad/NAME` in training, with
 * gradients and choices played back, `L2/NAME` the plan, rows and sums of its routing in training,
 * `L4/NAME` and `L4/grad/NAME` a layer with it in both. Parameters, tokens and token ids are drawn;
 * there are two sequences, each with a token of padding.
 */
export function routerCases(subject: RouterSubject): readonly ConformanceCase[] {
  const { name, router } = subject;
  return [
    ownCase({
      id: `L1/${name}`,
      demand: `tokens are routed by ${name}`,
      async run(test) {
        const { inputs } = await clearInputs(test, subject, false);
        await holdRouting(test, subject, inputs, false);
      },
    }),
    ownCase({
      id: `L1/grad/${name}`,
      demand: `tokens are routed by ${name} in training, and its parameters get their gradients`,
      extension: "grad",
      async run(test) {
        const { inputs, routed } = await clearInputs(test, subject, true);
        const { ofFunction, gradients: compare } = subject;
        await holdRouting(test, subject, inputs, true);
        const replayed = { ...inputs, ...replayOf(routed) };
        const program = (run: ProgramRun): Tensors => differentiated(run, subject);
        // A fixed table has nothing that learns.
        const mayBeNone = !floatsOf(inputs).some((input) => input.startsWith("router.params."));
        await holdGradients(test, { inputs: replayed, program, ofFunction, compare, mayBeNone });
      },
    }),
    ownCase({
      id: `L2/${name}`,
      demand: `rows are grouped and put together as ${name} routes them in training`,
      // Experts that choose add rows up by token, which inference alone needs no kernel for.
      ops: router.acrossTokens ? trainingOps() : inferenceOps(),
      async run(test) {
        const { inputs, routed } = await clearInputs(test, subject, true);
        const { x, mask } = inputs;
        const kept = Object.entries(routed).filter(([key]) => PERMUTED.includes(key));
        const given = Object.fromEntries(kept.map(([key, value]) => [key, asHost(value)]));
        await test.compare({ ...given, x: x as HostTensor, ...(mask && { mask }) }, (run) =>
          permuted(run, router.experts),
        );
      },
    }),
    ...layerCases(subject),
  ];
}

/** Holds everything that a routing says to the references; what is no expert weighs 0, to the bit. */
async function holdRouting(
  test: CaseContext,
  subject: RouterSubject,
  inputs: HostTensors,
  training: boolean,
): Promise<void> {
  const program = (run: ProgramRun): Tensors => routingValues(routeIn(run, subject, training));
  const wanted: Record<string, BoundedValues> = await test.reference(inputs, program);
  const got: Record<string, HostTensor> = await test.observe(inputs, program);
  for (const [name, bounded] of Object.entries(wanted)) {
    const values = got[name];
    test.expect(values !== undefined, `the routing has no ${name}`);
    if (values) test.within(name, values, bounded, subject.compare);
  }
  const { selected, indices = selected, outputWeights } = got;
  const heavy = indices?.data.findIndex(
    (id, at) => id === subject.router.experts && outputWeights?.data[at] !== 0,
  );
  test.expect(
    heavy === undefined || heavy < 0,
    `choice ${heavy} is no expert, but weighs ${outputWeights?.data[heavy ?? 0]}`,
  );
}

/** The choices to play back. */
function replayOf({ selected }: Readonly<Record<string, BoundedValues>>): HostTensors {
  return selected ? { selected: asHost(selected) } : {};
}

/** What of a routing has a gradient, and its choices. */
function differentiated(run: ProgramRun, subject: RoutedSubject): Tensors {
  const routing = routeIn(run, subject, true);
  const { scores } = routing;
  return { scores, ...weightsOf(routing), ...carriedBy(routing), ...choicesOf(routing) };
}

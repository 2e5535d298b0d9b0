import { type Routing, type Tensor, isTensor, leavesOf } from "@moiety/core";
import type { CompareOptions, ConformanceCase, ProgramRun, Tensors } from "../case.ts";
import { treesOf } from "./leaves.ts";
import { ownCase, trainingOps } from "./program-case.ts";
import { type RoutedSubject, clearInputs, routeIn } from "./routed.ts";

/** A controller to hold a backend to. */
export interface ControllerSubject extends RoutedSubject {
  /** Stands in the case's id behind its level: `my-controllers/bias`. */
  readonly name: string;
  /** The router's state after a step in which it made this routing. */
  update(state: unknown, routing: Routing): unknown;
  readonly compare?: CompareOptions | undefined;
}

/** `L4/NAME`: the state after a step, from the state before it and a routing in training. */
export function controllerCase(subject: ControllerSubject): ConformanceCase {
  const { name, router, compare } = subject;
  return ownCase({
    id: `L4/${name}`,
    demand: `${name} gives the references' state after a step`,
    ops: trainingOps(),
    async run(test) {
      const { inputs } = await clearInputs(test, subject, true);
      const program = (run: ProgramRun): Tensors => {
        const { state } = treesOf(run, router, "router");
        return tensorsOf(subject.update(state, routeIn(run, subject, true)));
      };
      await test.compare(inputs, program, compare);
    },
  });
}

function tensorsOf(state: unknown): Tensors {
  const entries = leavesOf(state).flatMap(({ path, leaf }): [string, Tensor][] =>
    isTensor(leaf) ? [[path, leaf]] : [],
  );
  return Object.fromEntries(entries);
}

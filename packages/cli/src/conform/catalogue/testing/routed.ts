import type { RoutedSubject } from "@moiety/conformance";
import { type Routing, type Tensor, isTensor } from "@moiety/core";
import { widened } from "../../../../../conformance/src/host-tensor.ts";
import { contextInputs, routeIn } from "../../../../../conformance/src/own/routed.ts";
import { choicesOf } from "../../../../../conformance/src/own/routing-values.ts";
import { caseRandom } from "../../../../../conformance/src/random.ts";
import { type Leaves, backend, drawn, leavesOfPart } from "./differences.ts";

/** Everything that a call of a router is given, in float64, its choices in training frozen. */
export async function frozenCall(subject: RoutedSubject): Promise<Record<string, Tensor>> {
  const { router, tokens = 18 } = subject;
  const given = Object.entries(contextInputs({ random: caseRandom(5) }, subject)).map(
    ([name, host]): [string, Tensor] => {
      const { data, shape, dtype } = widened(host);
      return [name, backend.tensor(data, { shape, dtype })];
    },
  );
  const leaves = {
    ...(await leavesOfPart(router, "router")),
    ...Object.fromEntries(given),
    x: drawn(7, [tokens, router.inputSize]),
  };
  const { selected } = backend.scope(() => choicesOf(routed(leaves, subject)));
  return isTensor(selected) ? { ...leaves, selected } : leaves;
}

/** The routing of a call in training. */
export function routed(leaves: Leaves, subject: RoutedSubject): Routing {
  return routeIn({ backend, float: "f64", inputs: leaves }, subject, true);
}

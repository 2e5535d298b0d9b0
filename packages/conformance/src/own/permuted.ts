import {
  type ExpertBank,
  type Routing,
  type RoutingBase,
  type Tensor,
  type TokenChoice,
  combine,
  dispatch,
  gather,
  loadOf,
  mixExperts,
  plan,
} from "@moiety/core";
import type { HostTensors, ProgramRun, Tensors } from "../case.ts";
import { inputOf } from "./routed.ts";

/** The names of a routing's values that {@link permuted} reads. */
export const PERMUTED: readonly string[] = [
  "logits",
  "selected",
  "indices",
  "outputWeights",
  "inputWeights",
  "tokens",
  "weights",
  "dispatch",
  "combine",
  "source",
];

/** A routing of given choices and weights: its plan, the rows of `x`, their sums, and the load. */
export function permuted(run: ProgramRun<HostTensors>, experts: number): Tensors {
  const routing = routingOf(run, experts);
  const x = inputOf(run, "x");
  const bank = copies(experts, x.shape[1] ?? 0);
  const shared = { mixed: mixExperts(bank, {}, x, routing), load: loadOf(routing) };
  if (routing.kind === "soft") return shared;
  const { order, inverse, offsets, group, tokenOfRow } = plan(routing);
  const planned = { order, offsets, group, tokenOfRow };
  // In expert-choice rows stand as they were chosen: the way back is the way there.
  return {
    ...shared,
    ...planned,
    ...(routing.kind === "token-choice" && { inverse, ...rowsOf(routing, x) }),
  };
}

function rowsOf(routing: TokenChoice, x: Tensor): Tensors {
  const sorted = plan(routing);
  const rows = gather(dispatch(x, sorted, routing.inputWeights));
  return { rows, sums: combine(rows, sorted, routing.outputWeights) };
}

/** Experts that return their rows. */
function copies(experts: number, width: number): ExpertBank<object> {
  return {
    experts,
    inputSize: width,
    outputSize: width,
    init: () => ({ params: {}, state: {} }),
    forward: (_params, rows) => gather(rows),
  };
}

/** The routing whose values the inputs are. */
function routingOf(run: ProgramRun<HostTensors>, experts: number): Routing {
  const given: Readonly<Record<string, Tensor | undefined>> = run.inputs;
  const logits = inputOf(run, "logits");
  const base: RoutingBase = { experts, logits, scores: logits, mask: given["mask"] };
  const { selected, tokens, inputWeights, source } = given;
  if (selected) {
    const indices = given["indices"] ?? selected;
    const outputWeights = inputOf(run, "outputWeights");
    return { ...base, kind: "token-choice", indices, selected, outputWeights, inputWeights };
  }
  if (tokens) return { ...base, kind: "expert-choice", tokens, weights: inputOf(run, "weights") };
  const taking = inputOf(run, "dispatch");
  const slots = (taking.shape[2] ?? 0) / experts;
  return {
    ...base,
    kind: "soft",
    slots,
    dispatch: taking,
    combine: inputOf(run, "combine"),
    source,
  };
}

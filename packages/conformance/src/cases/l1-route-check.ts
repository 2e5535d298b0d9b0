import {
  type RouteContext,
  type RouteInputs,
  type RouteSpec,
  type Tensor,
  routeTokens,
  squashLogits,
} from "@moiety/core";
import type { BoundedValues, CaseContext, ConformanceCase, Program } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { unclearTokens } from "./l1-route-clear.ts";
import { ROUTE_OPS, expectDistinct, levelCase, sameIds } from "./l1-support.ts";

/** Host inputs of a routing. */
export type RouteHost = {
  /** `[T, E]`. */
  readonly logits: HostTensor;
  /** `[E]`. */
  readonly bias?: HostTensor;
  /** `[T, E]` bool. */
  readonly allowed?: HostTensor;
};

/** One call of `routeTokens` on the host's values. */
export interface RouteCall {
  readonly spec: RouteSpec;
  readonly inputs: RouteHost;
}

/** What a routing program gives. */
export type Routed = Record<"indices" | "scores" | "outputWeights" | "inputWeights", Tensor>;

/** A routing's outputs, under names. */
export function routeOutputs(
  spec: RouteSpec,
  inputs: RouteInputs,
  context?: RouteContext,
  indices?: Tensor,
): Routed {
  const stages = indices && { select: () => indices };
  const routed = routeTokens(spec, inputs, context, stages);
  const { outputWeights, inputWeights = outputWeights, scores } = routed;
  return { indices: routed.indices, scores, outputWeights, inputWeights };
}

/** Routing with its own choice. */
export const routeProgram =
  (spec: RouteSpec): Program<RouteHost, Routed> =>
  ({ inputs }) =>
    routeOutputs(spec, inputs);

/** Routing with a choice that was made elsewhere. */
const replayProgram =
  (
    spec: RouteSpec,
  ): Program<RouteHost & { readonly indices: HostTensor }, Omit<Routed, "indices">> =>
  ({ inputs: { indices, ...inputs } }) => {
    const { scores, outputWeights, inputWeights } = routeOutputs(spec, inputs, {}, indices);
    return { scores, outputWeights, inputWeights };
  };

/** The reference's choice, and what it compared. */
const choiceProgram =
  (spec: RouteSpec): Program<RouteHost, { readonly indices: Tensor; readonly compared: Tensor }> =>
  ({ inputs }) => {
    const { indices, scores } = routeOutputs(spec, inputs);
    const { selectBy } = spec;
    return {
      indices,
      compared: selectBy === "logits" ? squashLogits(inputs.logits, spec) : scores,
    };
  };

/** What the backend under test gave, and the call that it answered. */
export interface RouteAnswer extends RouteCall {
  readonly got: Readonly<Record<keyof Routed, HostTensor>>;
}

/** How often inputs are drawn anew before they count as poor. */
const DRAWS = 5;

/**
 * Holds a routing to the reference: every id exactly, scores and weights within their bounds with
 * the reference's own choice. Draws again where rounding could decide a choice.
 */
export async function checkRoute(test: CaseContext, draw: () => RouteCall): Promise<RouteAnswer> {
  for (let attempt = 0; attempt < DRAWS; attempt++) {
    const { spec, inputs } = draw();
    const { indices, compared } = await test.reference(inputs, choiceProgram(spec));
    if (unclearTokens({ spec, inputs }, compared).length > 0) continue;
    const got = await test.observe(inputs, routeProgram(spec));
    expectDistinct(test, got.indices, spec.experts);
    sameIds(test, "indices", got.indices, indices);
    await checkWeights(test, { spec, inputs, got }, indices);
    return { spec, inputs, got };
  }
  return test.poor(`rounding could decide a choice in each of ${DRAWS} draws`);
}

/** Holds scores and weights to the reference's for a given choice. */
export async function checkWeights(
  test: CaseContext,
  { spec, inputs, got }: RouteAnswer,
  indices: Pick<BoundedValues, "values" | "shape">,
): Promise<void> {
  const replayed = {
    ...inputs,
    indices: { data: indices.values, shape: indices.shape, dtype: "i32" },
  } as const;
  const wanted = await test.reference(replayed, replayProgram(spec));
  test.within("scores", got.scores, wanted.scores);
  test.within("outputWeights", got.outputWeights, wanted.outputWeights);
  test.within("inputWeights", got.inputWeights, wanted.inputWeights);
}

/** A case that routes once and holds all of it to the reference. */
export function routeCase(
  id: string,
  demand: string,
  draw: (random: CaseRandom) => RouteCall,
): ConformanceCase {
  return levelCase("L1", `route/${id}`, demand, ROUTE_OPS, async (test) => {
    await checkRoute(test, () => draw(test.random));
  });
}

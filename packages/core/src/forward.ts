import { Choices } from "./choices.ts";
import { ConfigError, UnsupportedError } from "./errors.ts";
import { backpropagate, seedOf } from "./gradient.ts";
import type { Module } from "./module.ts";
import type { Routing } from "./moe/routing.ts";
import { assertSynchronous, mapTensors, tensorsIn } from "./scope.ts";
import { type Tensor, alias, internals, isTensor } from "./tensor.ts";
import { GradientNode, LeanSegment, type Trace, traceOf } from "./trace.ts";

/** A pause at a routing: the bank may load the chosen experts, or have them computed elsewhere. */
export interface RoutingPause {
  readonly kind: "routing";
  readonly routing: Routing;
  /** Inputs of the experts, `[T, H]`. */
  readonly x: Tensor;
  /** Awaited by `applyAsync` before going on; `apply` refuses it. */
  prepare?(): Promise<void>;
  /**
   * Computes the layer's output elsewhere; `applyAsync` sends its result back into the forward, and
   * frees it at the end.
   */
  remote?(): Promise<Tensor>;
}

/** A question of {@link checkpoint} to whoever drains the forward: is a gradient being recorded? */
export interface TracePause {
  readonly kind: "trace";
}

/** Why a forward paused. */
export type Pause = RoutingPause | TracePause;

/** What a pause is answered with: the remote output, or the trace. */
export type PauseAnswer = Tensor | Trace | undefined;

/** A model's forward, written once: it yields at each routing, and returns the result. */
export type Forward<Result> = Generator<Pause, Result, PauseAnswer>;

/**
 * Runs a module synchronously. Works under `valueAndGrad`. Everything but the result is freed at the
 * end.
 * @throws UnsupportedError when a bank needs to wait (use {@link applyAsync})
 */
export function apply<Params, State, Args extends readonly unknown[], Result>(
  module: Module<Params, State, Args, Result>,
  params: Params,
  state: State,
  ...args: Args
): Result {
  const given = [...tensorsIn(params), ...tensorsIn(args)];
  const trace = traceOf(given);
  const run = (): Result => drain(module.forward(params, state, ...args), trace);
  const [first] = given;
  return first === undefined ? run() : first[internals].engine.scope(run);
}

/** Runs a forward to its end without waiting; `trace` is what its checkpoints record into. */
export function drain<Result>(forward: Forward<Result>, trace?: Trace): Result {
  let step = forward.next();
  while (step.done !== true) {
    const pause = step.value;
    if (pause.kind === "routing" && (pause.prepare || pause.remote)) {
      const error = new UnsupportedError(
        "this bank must wait for its experts; use applyAsync instead of apply",
        "synchronous experts",
      );
      step = forward.throw(error);
      continue;
    }
    step = forward.next(pause.kind === "trace" ? trace : undefined);
  }
  return step.value;
}

/**
 * Runs a module for inference, waiting at each routing for what its bank asks for. One scope per
 * step between pauses: everything but the result is freed at the end.
 * @throws ConfigError under `valueAndGrad`
 */
export async function applyAsync<Params, State, Args extends readonly unknown[], Result>(
  module: Module<Params, State, Args, Result>,
  params: Params,
  state: State,
  ...args: Args
): Promise<Result> {
  const given = [...tensorsIn(params), ...tensorsIn(args)];
  const [first] = given;
  if (first === undefined) {
    throw new ConfigError("applyAsync needs a tensor in params or arguments", "params", params);
  }
  if (traceOf(given)) {
    throw new ConfigError(
      "applyAsync is for inference; use apply under valueAndGrad",
      "params",
      undefined,
    );
  }
  const { engine } = first[internals];
  const scope = engine.openScope();
  let result: Result | undefined;
  try {
    const forward = module.forward(params, state, ...args);
    let step = engine.within(scope, () => forward.next());
    while (step.done !== true) {
      step = await answerOf(step.value).then(
        (answer) => {
          // What was computed elsewhere was made outside the scope, and ends with it.
          if (isTensor(answer) && answer[internals].scope === undefined) scope.add(answer);
          return engine.within(scope, () => forward.next(answer));
        },
        (error: unknown) => engine.within(scope, () => forward.throw(error)),
      );
    }
    result = step.value;
    return result;
  } finally {
    scope.close(result);
  }
}

async function answerOf(pause: Pause): Promise<PauseAnswer> {
  if (pause.kind === "trace") return undefined;
  await pause.prepare?.();
  return pause.remote?.();
}

/**
 * Runs a part of a forward without keeping what its gradient needs; the backward runs it again.
 * Integers chosen on the way (indices, orders) are kept, so that both runs choose alike. Takes a
 * thunk, since a generator runs once. What it returns must hold all that later parts use.
 *
 * @example
 * h = yield* checkpoint(() => block.forward(params, state, h, context));
 */
export function* checkpoint<Result>(thunk: () => Forward<Result>): Forward<Result> {
  const trace = (yield { kind: "trace" }) as Trace | undefined;
  if (trace === undefined || trace.lean !== undefined) return yield* thunk();
  const { engine } = trace;
  engine.hold(trace.floor);
  const segment = new LeanSegment(trace.sequence);
  const outer = engine.choices;
  const choices = new Choices(undefined, outer);
  const scope = engine.openScope();
  let result: Result | undefined;
  trace.lean = segment;
  engine.choices = choices;
  engine.enter(scope);
  try {
    result = reattach(trace, segment, yield* thunk(), choices, thunk);
    assertSynchronous(result);
    return result;
  } finally {
    engine.leave(scope);
    trace.lean = undefined;
    engine.choices = outer;
    scope.close(result);
  }
}

/** Gives the segment's outputs one node, whose pullback runs the segment again. */
function reattach<Result>(
  trace: Trace,
  segment: LeanSegment,
  result: Result,
  choices: Choices,
  thunk: () => Forward<Result>,
): Result {
  const owned = ownedBy(segment, result);
  for (const tensor of tensorsIn(result)) {
    const source = tensor[internals].source;
    if (source && !segment.owns(source)) segment.note(source);
  }
  const externals = segment.externals;
  const node = new GradientNode(
    trace,
    externals,
    (gradients) => recompute(trace, choices, thunk, externals, gradients),
    choices.kept.flat(),
  );
  const replacements = new Map(
    owned.map((tensor, index) => [tensor, alias(tensor, { node, index })]),
  );
  return mapTensors(result, (tensor) => replacements.get(tensor) ?? tensor);
}

function recompute<Result>(
  trace: Trace,
  choices: Choices,
  thunk: () => Forward<Result>,
  externals: readonly { readonly node: GradientNode; readonly index: number }[],
  gradients: readonly (Tensor | undefined)[],
): (Tensor | undefined)[] {
  const { engine } = trace;
  const { choices: outer } = engine;
  const { floor } = trace;
  const start = trace.sequence;
  engine.choices = new Choices(choices.kept);
  trace.floor = engine.innermost;
  let result: Result;
  try {
    result = drain(thunk(), trace);
  } finally {
    engine.choices = outer;
    trace.floor = floor;
  }
  const again = new LeanSegment(start);
  const seeds = ownedBy(again, result).flatMap((tensor, index) => seedOf(tensor, gradients[index]));
  const arrived = backpropagate(engine, seeds, start);
  return externals.map(({ node, index }) => arrived.get(node)?.[index]);
}

/** The traced tensors of a result that were made inside a segment, in the order of the result. */
function ownedBy(segment: LeanSegment, result: unknown): Tensor[] {
  return [...tensorsIn(result)].filter((tensor) => {
    const source = tensor[internals].source;
    return source !== undefined && segment.owns(source);
  });
}

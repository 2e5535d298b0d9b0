import { type RouteContext, type Router, type Routing, type Tensor } from "@moiety/core";
import type { BoundedValues, CaseContext, HostTensors, ProgramRun } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { leavesOnHost, treesOf } from "./leaves.ts";
import { choicesOf, routingValues } from "./routing-values.ts";

/** A router, and what a call of it is given. */
export interface RoutedSubject {
  readonly router: Router<unknown, unknown>;
  /** Number of token ids; `context.tokenIds` are below it. 32 unless given. */
  readonly vocabSize?: number | undefined;
  /** Tokens T, of two sequences of equal length: an even number, 18 unless given. */
  readonly tokens?: number | undefined;
  /** Whether the last token of each sequence is padding. True unless given. */
  readonly padding?: boolean | undefined;
  /** Number of labels; `context.labels` are below it. None are given unless this is. */
  readonly labels?: number | undefined;
  /** What an earlier layer carried, by name, with its width: `context.previous`. */
  readonly previous?: Readonly<Record<string, number>> | undefined;
  /**
   * Of routers that find their choices in training by rounds of rounded numbers, so that honest
   * backends may choose unlike: what is wrong with the choices `[T, k]` that the backend made, if
   * anything. `routed` is what the references make of the same call. The rest of a case plays the
   * backend's choices back.
   */
  readonly judge?:
    | ((chosen: HostTensor, routed: Readonly<Record<string, BoundedValues>>) => string | undefined)
    | undefined;
}

/** Before the names of what an earlier layer carried. */
const PREVIOUS = "previous ";

/** Draws that are tried where rounding could decide a choice. */
const TRIES = 6;

/** Inputs of a router's call, and what the references make of them. */
export interface RoutedInputs {
  readonly inputs: Record<string, HostTensor>;
  readonly routed: Readonly<Record<string, BoundedValues>>;
}

/**
 * Draws a router's parameters and tokens for which no rounding can decide a choice, so that every
 * honest backend chooses alike, in evaluation or in training.
 */
export async function clearInputs(
  test: CaseContext,
  subject: RoutedSubject,
  training: boolean,
): Promise<RoutedInputs> {
  const { router, tokens = 18, judge } = subject;
  const leaves = await leavesOnHost(test, router, "router");
  const given = { ...leaves, ...contextInputs(test, subject) };
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const inputs = { ...given, x: test.random.normal([tokens, router.inputSize]) };
    const routed = await referenceOf(test, subject, inputs, training);
    if (judge && training) return judged(test, subject, { inputs, routed });
    if (Object.values(routed).every(isClear)) return { inputs, routed };
  }
  return test.poor(`rounding could decide a choice, ${TRIES} times`);
}

/** The inputs beside parameters and `x`. */
export function contextInputs(
  { random }: Pick<CaseContext, "random">,
  { vocabSize = 32, tokens = 18, padding = true, labels, previous = {} }: RoutedSubject,
): Record<string, HostTensor> {
  const half = tokens / 2;
  const carried = Object.entries(previous).map(
    ([name, width]) => [`${PREVIOUS}${name}`, random.normal([tokens, width])] as const,
  );
  return {
    tokenIds: random.integers([tokens], 0, vocabSize - 1),
    ...(labels !== undefined && { labels: random.integers([tokens], 0, labels - 1) }),
    ...(padding && { mask: generated([tokens], "bool", (at) => (at % half === half - 1 ? 0 : 1)) }),
    ...Object.fromEntries(carried),
  };
}

async function referenceOf(
  test: CaseContext,
  subject: RoutedSubject,
  inputs: HostTensors,
  training: boolean,
): Promise<Record<string, BoundedValues>> {
  return test.reference(inputs, (run) => routingValues(routeIn(run, subject, training)));
}

/** Lets the backend choose, judges what it chose, and has that played back. */
async function judged(
  test: CaseContext,
  subject: RoutedSubject,
  { inputs, routed }: RoutedInputs,
): Promise<RoutedInputs> {
  const { selected } = await test.observe(inputs, (run) => choicesOf(routeIn(run, subject, true)));
  if (selected === undefined) return test.poor("only choices of tokens can be played back");
  const fault = subject.judge?.(selected, routed);
  test.expect(fault === undefined, `the choices in training: ${fault}`);
  const replayed = { ...inputs, selected };
  return { inputs: replayed, routed: await referenceOf(test, subject, replayed, true) };
}

function isClear({ dtype, bounds }: BoundedValues): boolean {
  return dtype === "f64" || dtype === "f32" || bounds.every((bound) => bound === 0);
}

/** Routes a run's `x`. */
export function routeIn(
  run: ProgramRun<HostTensors>,
  subject: RoutedSubject,
  training: boolean,
): Routing {
  const { params, state } = treesOf(run, subject.router, "router");
  const x = inputOf(run, "x");
  return subject.router.route(params, state, x, contextOf(run, subject, training));
}

/** What a call is given beside `x`. */
export function contextOf(
  { inputs }: ProgramRun<HostTensors>,
  { tokens = 18 }: RoutedSubject,
  training: boolean,
): RouteContext {
  const given: Readonly<Record<string, Tensor | undefined>> = inputs;
  return {
    sequences: [0, tokens / 2, tokens],
    mask: given["mask"],
    tokenIds: given["tokenIds"],
    labels: given["labels"],
    selected: given["selected"],
    previous: carriedInputs(inputs),
    key: [7, 11],
    training,
  };
}

function carriedInputs(inputs: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  const entries = Object.entries(inputs).flatMap(([name, tensor]) =>
    name.startsWith(PREVIOUS) ? [[name.slice(PREVIOUS.length), tensor] as const] : [],
  );
  return Object.fromEntries(entries);
}

/** An input that is there. */
export function inputOf({ inputs }: ProgramRun<HostTensors>, name: string): Tensor {
  const tensor: Tensor | undefined = inputs[name];
  if (tensor) return tensor;
  throw new RangeError(`there is no input ${name}`);
}

/** The references' values as an input of the next program. */
export function asHost({ values, shape, dtype }: BoundedValues): HostTensor {
  return generated(shape, dtype === "f64" ? "f32" : dtype, (at) => values[at] ?? 0);
}

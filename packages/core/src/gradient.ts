import { add } from "./ops/arithmetic.ts";
import { fill } from "./ops/creation.ts";
import { isFloat } from "./dtype.ts";
import type { Engine } from "./engine.ts";
import { ConfigError, ShapeError, UnsupportedError } from "./errors.ts";
import { mapTensors } from "./scope.ts";
import { formatShape, sameShape } from "./shape.ts";
import { type Tensor, alias, internals, isTensor, stopGradient } from "./tensor.ts";
import {
  type GradientNode,
  type Gradients,
  Trace,
  type TracedOutput,
  retain,
  traceOf,
} from "./trace.ts";
import { type Leaf, type MapTree, leavesOf, mapTree } from "./tree.ts";

/** Gradients of a parameter tree: `null` at leaves that are integer, quantised, frozen or unreached. */
export type GradientsOf<Params> = MapTree<Params, Tensor | null>;

/** What {@link valueAndGrad} gives. Every tensor is untraced. */
export interface ValueAndGradients<Params, Aux> {
  /** The scalar loss. */
  readonly loss: Tensor;
  readonly grads: GradientsOf<Params>;
  /** What the function returned beside the loss. */
  readonly aux: Aux;
}

/** Options of {@link valueAndGrad}. */
export interface GradientOptions {
  /** Leaves that get no gradient, by path (`layers.0.router.weight`). */
  readonly frozen?: ((path: string, leaf: Leaf) => boolean) | undefined;
}

/**
 * Makes a function that gives a scalar loss and its gradient with respect to a tree of parameters.
 * First order. Everything allocated on the way is freed; only the result stays.
 *
 * @example
 * const step = valueAndGrad((params: { w: Tensor }, x: Tensor) => sum(mul(params.w, x)));
 * const { loss, grads } = step({ w }, x);
 */
export function valueAndGrad<Params, Args extends readonly unknown[]>(
  f: (params: Params, ...args: Args) => Tensor,
  options?: GradientOptions,
): (params: Params, ...args: Args) => ValueAndGradients<Params, undefined>;
export function valueAndGrad<Params, Args extends readonly unknown[], Aux>(
  f: (params: Params, ...args: Args) => { readonly loss: Tensor; readonly aux: Aux },
  options?: GradientOptions,
): (params: Params, ...args: Args) => ValueAndGradients<Params, Aux>;
export function valueAndGrad<Params, Args extends readonly unknown[], Aux>(
  f: (params: Params, ...args: Args) => Tensor | { readonly loss: Tensor; readonly aux: Aux },
  options: GradientOptions = {},
): (params: Params, ...args: Args) => ValueAndGradients<Params, Aux | undefined> {
  return (params, ...args) => {
    const engine = engineOfTree(params);
    const trace = new Trace(engine);
    try {
      return engine.scope(() => {
        trace.floor = engine.innermost;
        const leaves = new Map<string, GradientNode>();
        const traced = mapTree(params, (leaf, path) => {
          if (!isTrainable(leaf) || options.frozen?.(path, leaf)) return leaf;
          const tensor = trace.leaf(leaf);
          const source = tensor[internals].source;
          if (source) leaves.set(path, source.node);
          return tensor;
        }) as Params;
        const result = f(traced, ...args);
        const { loss, aux } = isTensor(result) ? { loss: result, aux: undefined } : result;
        const gradients = differentiate(engine, trace, loss);
        const grads = mapTree(params, (_, path) => {
          const node = leaves.get(path);
          return (node && gradients.get(node)?.[0]) ?? null;
        });
        return { loss: stopGradient(loss), grads, aux: mapTensors(aux, stopGradient) };
      });
    } finally {
      trace.release();
    }
  };
}

/**
 * Runs `forward` on traced inputs and pulls given gradients of its outputs back to the inputs: how
 * the decomposition of a backward op is had from that of its forward op. Gradients of inputs that
 * are integer or unreached are `undefined`.
 */
export function pullBack(
  inputs: readonly (Tensor | undefined)[],
  forward: (...inputs: readonly (Tensor | undefined)[]) => readonly Tensor[],
  gradients: Gradients,
): (Tensor | undefined)[] {
  const first = inputs.find((input) => input !== undefined);
  if (first === undefined) return [];
  const { engine } = first[internals];
  const trace = new Trace(engine);
  try {
    return engine.scope(() => {
      const traced = inputs.map((input) =>
        input && isFloat(input.dtype) ? trace.leaf(input) : input,
      );
      const outputs = forward(...traced);
      const seeds = outputs.flatMap((output, index) => seedOf(output, gradients[index]));
      const found = backpropagate(engine, seeds, 0);
      return traced.map((input) => {
        const source = input?.[internals].source;
        return source && found.get(source.node)?.[source.index];
      });
    });
  } finally {
    trace.release();
  }
}

/** What {@link customGradient}'s function gives. */
export interface CustomForward<O extends readonly Tensor[]> {
  readonly outputs: O;
  /** Tensors that the gradient needs; they are kept until it has run. */
  readonly saved?: readonly Tensor[] | undefined;
  /** Gradients of the inputs from those of the outputs (`undefined` where none flows). */
  gradient(
    gradients: readonly (Tensor | undefined)[],
    saved: readonly Tensor[],
  ): readonly (Tensor | undefined)[];
}

/**
 * Makes a function with a gradient of your own: straight-through estimators, SparseMixer,
 * REINFORCE, injected gradients. `forward` runs untraced.
 */
export function customGradient<I extends readonly Tensor[], O extends readonly Tensor[]>(
  forward: (...inputs: I) => CustomForward<O>,
): (...inputs: I) => O {
  return (...inputs) => {
    const result = forward(...(inputs.map((input) => stopGradient(input)) as unknown as I));
    const trace = traceOf(inputs);
    if (trace === undefined) return result.outputs;
    const outputs = result.outputs.map((output) => alias(output, undefined));
    return trace.record(inputs, outputs, () => {
      const saved = (result.saved ?? []).map(retain);
      return { pullback: (gradients) => result.gradient(gradients, saved), saved };
    }) as unknown as O;
  };
}

/**
 * Walks back from seeded outputs and gives the gradients that arrived at leaves and at nodes older
 * than `floor`, by node and output.
 */
export function backpropagate(
  engine: Engine,
  seeds: readonly { readonly source: TracedOutput; readonly gradient: Tensor }[],
  floor: number,
): Map<GradientNode, (Tensor | undefined)[]> {
  const arrived = new Map<GradientNode, (Tensor | undefined)[]>();
  const accumulate = ({ node, index }: TracedOutput, gradient: Tensor): void => {
    const list = arrived.get(node) ?? [];
    const before = list[index];
    list[index] = before ? add(before, gradient) : gradient;
    if (before) [before, gradient].forEach((tensor) => tensor.dispose());
    arrived.set(node, list);
  };
  for (const { source, gradient } of seeds) accumulate(source, alias(gradient, undefined));
  for (const node of nodesBehind(seeds, floor)) {
    const gradients = arrived.get(node);
    if (gradients === undefined || node.pullback === undefined) continue;
    const needs = node.sources.map((source) => source !== undefined);
    const pulled = engine.scope(() =>
      (node.pullback?.(gradients, needs) ?? []).map((gradient, index) =>
        gradient && needs[index] ? alias(gradient, undefined) : undefined,
      ),
    );
    arrived.delete(node);
    for (const gradient of gradients) gradient?.dispose();
    node.release();
    for (const [index, source] of node.sources.entries()) {
      const gradient = pulled[index];
      if (source && gradient) accumulate(source, gradient);
    }
  }
  return arrived;
}

/** A seed for an output that is traced and has a gradient. */
export function seedOf(
  output: Tensor,
  gradient: Tensor | undefined,
): { source: TracedOutput; gradient: Tensor }[] {
  const source = output[internals].source;
  if (!source || !gradient) return [];
  if (!sameShape(output.shape, gradient.shape)) {
    throw new ShapeError(
      `a gradient of shape ${formatShape(gradient.shape)} does not fit an output of shape ` +
        formatShape(output.shape),
    );
  }
  return [{ source, gradient }];
}

/** The nodes that the seeds reach, newest first, none older than `floor`. */
function nodesBehind(
  seeds: readonly { readonly source: TracedOutput }[],
  floor: number,
): GradientNode[] {
  const found = new Set<GradientNode>();
  const open = seeds.map(({ source }) => source.node);
  for (let node = open.pop(); node; node = open.pop()) {
    if (node.sequence < floor || found.has(node)) continue;
    found.add(node);
    for (const source of node.sources) if (source) open.push(source.node);
  }
  return [...found].sort((a, b) => b.sequence - a.sequence);
}

function differentiate(
  engine: Engine,
  trace: Trace,
  loss: Tensor,
): Map<GradientNode, (Tensor | undefined)[]> {
  if (loss.size !== 1 || !isFloat(loss.dtype)) {
    throw new ShapeError(
      `valueAndGrad needs a scalar float loss, not ${loss.dtype}${formatShape(loss.shape)}`,
      { op: "valueAndGrad", shapes: [loss.shape] },
    );
  }
  const source = loss[internals].source;
  if (source === undefined) return new Map();
  if (source.node.trace !== trace) {
    throw new UnsupportedError(
      "the loss belongs to another valueAndGrad call; gradients are first order only",
      "second-order gradients",
    );
  }
  const one = fill(engine, { shape: loss.shape, value: 1, dtype: loss.dtype });
  return backpropagate(engine, [{ source, gradient: one }], 0);
}

function isTrainable(leaf: Leaf): leaf is Tensor {
  if (!isTensor(leaf) || !isFloat(leaf.dtype)) return false;
  if (!leaf.traced) return true;
  throw new UnsupportedError(
    "valueAndGrad was called on parameters that are traced already; gradients are first order only",
    "second-order gradients",
  );
}

function engineOfTree(params: unknown): Engine {
  for (const { leaf } of leavesOf(params)) {
    return (isTensor(leaf) ? leaf : leaf.codes)[internals].engine;
  }
  throw new ConfigError("valueAndGrad needs a parameter tree with a tensor", "params", params);
}

import type { Engine } from "./engine.ts";
import { ConfigError } from "./errors.ts";
import type { Scope } from "./scope.ts";
import { type Tensor, alias, internals } from "./tensor.ts";

/** Gradients of a node's outputs or inputs; `undefined` where none flows. */
export type Gradients = readonly (Tensor | undefined)[];

/** Which output of which node a tensor is. */
export interface TracedOutput {
  readonly node: GradientNode;
  readonly index: number;
}

/** How a node turns gradients of its outputs into gradients of its inputs. */
export type Pullback = (gradients: Gradients, needs: readonly boolean[]) => Gradients;

/** One recorded step of a forward pass. Held by the tensors it made: there is no tape. */
export class GradientNode {
  readonly sequence: number;
  readonly trace: Trace;
  /** Where each input came from; `undefined` for inputs that are not traced. */
  readonly sources: readonly (TracedOutput | undefined)[];
  /** Absent on leaves. */
  readonly pullback: Pullback | undefined;
  readonly #saved: readonly Tensor[];

  constructor(
    trace: Trace,
    sources: readonly (TracedOutput | undefined)[],
    pullback: Pullback | undefined,
    saved: readonly Tensor[],
  ) {
    this.trace = trace;
    this.sequence = trace.nextSequence();
    this.sources = sources;
    this.pullback = pullback;
    this.#saved = saved;
    trace.nodes.add(this);
  }

  /** Gives back what the pullback held. */
  release(): void {
    for (const tensor of this.#saved) tensor.dispose();
    this.trace.nodes.delete(this);
  }
}

/** What one call of `valueAndGrad` records. */
export class Trace {
  readonly engine: Engine;
  readonly nodes: Set<GradientNode> = new Set();
  /** Set while a checkpoint runs forward: nodes then keep no tensors, only where they came from. */
  lean: LeanSegment | undefined = undefined;
  /** The scope that outlives every use of what is made inside it. */
  floor: Scope | undefined = undefined;
  #sequence = 0;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Number of the next node. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Takes a number for a node. */
  nextSequence(): number {
    return this.#sequence++;
  }

  /** Makes a leaf: a parameter whose gradient is wanted. */
  leaf(tensor: Tensor): Tensor {
    return alias(tensor, { node: new GradientNode(this, [], undefined, []), index: 0 });
  }

  /**
   * Records a step and returns its outputs, traced. `save` is called only when the step will be
   * differentiated from what it saved; integer outputs carry no gradient and stay untraced.
   */
  record(
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly Tensor[],
    save: () => { readonly pullback: Pullback; readonly saved: readonly Tensor[] },
  ): Tensor[] {
    const sources = inputs.map((input) => input?.[internals].source);
    const node = this.lean?.record(this, sources) ?? this.#recordFull(sources, save);
    return outputs.map((output, index) => {
      if (output.dtype !== "f32" && output.dtype !== "f64") return output;
      const traced = alias(output, { node, index });
      output.dispose();
      return traced;
    });
  }

  /** Gives back what every node held. */
  release(): void {
    for (const node of this.nodes) node.release();
  }

  #recordFull(
    sources: readonly (TracedOutput | undefined)[],
    save: () => { readonly pullback: Pullback; readonly saved: readonly Tensor[] },
  ): GradientNode {
    const { pullback, saved } = save();
    return new GradientNode(this, sources, pullback, saved);
  }
}

/** What a checkpoint's forward leaves behind: the traced values that it read from outside. */
export class LeanSegment {
  readonly #start: number;
  readonly #externals = new Map<string, TracedOutput>();

  constructor(start: number) {
    this.#start = start;
  }

  get externals(): TracedOutput[] {
    return [...this.#externals.values()];
  }

  record(trace: Trace, sources: readonly (TracedOutput | undefined)[]): GradientNode {
    for (const source of sources) this.note(source);
    return new GradientNode(trace, sources, undefined, []);
  }

  /** Whether the value was made inside this segment. */
  owns(source: TracedOutput): boolean {
    return source.node.sequence >= this.#start;
  }

  note(source: TracedOutput | undefined): void {
    if (source === undefined || this.owns(source)) return;
    this.#externals.set(`${source.node.sequence}:${source.index}`, source);
  }
}

/** A tensor that a pullback may hold: untraced, and outside every scope. */
export function retain(tensor: Tensor): Tensor {
  const held = alias(tensor, undefined);
  held[internals].scope?.remove(held);
  return held;
}

/** The trace that any of these tensors belongs to. */
export function traceOf(tensors: readonly (Tensor | undefined)[]): Trace | undefined {
  let trace: Trace | undefined;
  for (const tensor of tensors) {
    const found = tensor?.[internals].source?.node.trace;
    if (found === undefined) continue;
    if (trace !== undefined && trace !== found) {
      throw new ConfigError(
        "tensors of two valueAndGrad calls meet in one op; gradients are first order only",
        "valueAndGrad",
        undefined,
      );
    }
    trace = found;
  }
  return trace;
}

/** Records a reshape. */
export function recordView(input: Tensor, view: Tensor): Tensor {
  const trace = traceOf([input]);
  if (trace === undefined) return view;
  const shape = input.shape;
  const [traced = view] = trace.record([input], [view], () => ({
    pullback: ([gradient]) => [gradient?.reshape(shape)],
    saved: [],
  }));
  return traced;
}

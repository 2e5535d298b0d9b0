import type { Attributes, Backend, KernelClass, OpIdentity, TensorSpec } from "./contract.ts";
import { callOp } from "./call.ts";
import { engineOf } from "./engine.ts";
import { ConfigError } from "./errors.ts";
import { type Tensor, isTensor } from "./tensor.ts";

/** Inputs of an op: a tuple with a name for each (`mask?: Tensor` where optional), or `Tensor[]`. */
export type OpInputs = readonly (Tensor | undefined)[];

/** What an op returns: one tensor, or a tuple. */
export type OpOutputs = Tensor | readonly Tensor[];

/** Attributes of an op that takes none. */
export type NoAttributes = Readonly<Record<never, never>>;

/** Arguments of a call: the inputs, then the attributes; without inputs the backend stands first. */
export type OpArguments<I extends OpInputs, A extends object> = I extends readonly []
  ? [backend: Backend, attributes: A]
  : NoAttributes extends A
    ? [...inputs: I, attributes?: A]
    : [...inputs: I, attributes: A];

/** Specs of an op's inputs, in the form of the inputs. */
export type InputSpecs<I extends OpInputs> = {
  readonly [K in keyof I]: TensorSpec | Extract<I[K], undefined>;
};

/** Specs of an op's outputs: one, or a tuple. */
export type OutputSpecs<O extends OpOutputs> = O extends readonly Tensor[]
  ? Each<O, TensorSpec>
  : TensorSpec;

/** An op's outputs as a tuple, also when there is one. */
export type OutputTuple<O extends OpOutputs> = O extends readonly Tensor[] ? O : readonly [Tensor];

/** A tuple of the same length with `R` in every place. */
export type Each<T extends readonly unknown[], R> = { readonly [K in keyof T]: R };

/** What a gradient rule gets. All tensors are untraced. */
export interface GradientCall<
  I extends OpInputs,
  A extends object,
  O extends OpOutputs,
  R extends readonly Tensor[],
> {
  readonly inputs: I;
  readonly attributes: A;
  readonly outputs: OutputTuple<O>;
  readonly residuals: R;
  /** Gradient of the loss with respect to each output; `undefined` where it does not depend on it. */
  readonly gradients: Each<OutputTuple<O>, Tensor | undefined>;
  /** Which inputs need a gradient. */
  readonly needs: readonly boolean[];
}

/**
 * An op as data. One definition serves every backend: `infer` validates, `gradient` differentiates,
 * `decompose` makes it run where there is no kernel.
 */
export interface OpDefinition<
  I extends OpInputs,
  A extends object,
  O extends OpOutputs,
  R extends readonly Tensor[],
> {
  /** Unique name; an outside package prefixes its own (`"acme/swizzle"`). */
  readonly name: string;
  /** Names of the inputs, `?` behind optional ones, for errors, documentation and drivers. */
  readonly inputs: readonly string[] | "variadic";
  /** Names of the outputs of an op that returns a tuple; absent where it returns one tensor. */
  readonly outputs?: readonly string[] | undefined;
  /** Which profile requires a kernel; `"optional"` (the default) needs `decompose`. */
  readonly kernel?: KernelClass | undefined;
  /** Attributes that stay out of the kernel's key. No output shape may depend on them. */
  readonly dynamic?: readonly (keyof A & string)[] | undefined;
  /** Checks shapes, dtypes and attributes and gives the outputs' specs. Throws named errors. */
  infer(inputs: InputSpecs<I>, attributes: A): OutputSpecs<O>;
  /** Specs of what a fused op keeps for its backward; called only when a gradient is wanted. */
  residuals?(inputs: InputSpecs<I>, attributes: A): Each<R, TensorSpec>;
  /** Gradient of each input, `undefined` where it has none. */
  gradient?(call: GradientCall<I, A, O, R>): readonly (Tensor | undefined)[];
  /**
   * The op that computes this one's gradient from the residuals. A backend that lacks the kernel of
   * either gets the decomposition of both.
   */
  backward?(): AnyOp;
  /**
   * Name of the storage format in which the weights of this call are held, where it is not the dtype
   * of the activations. A backend whose capabilities do not list it gets the decomposition, and so
   * does every traced call: such weights do not train.
   */
  format?(inputs: InputSpecs<I>, attributes: A): string | undefined;
  /** The same values by other ops: the definition of a fused op. */
  decompose?(inputs: I, attributes: A): O;
  /**
   * The same outputs when the integer ones are given (those that are i32 or u32, in order): a
   * checkpoint recomputes floats but keeps choices. By default the op runs again and the kept
   * integers replace its own.
   */
  replay?(inputs: I, attributes: A, kept: readonly Tensor[]): O;
}

/** An op's definition without its types, as the library and the kit use it. */
export interface ErasedDefinition {
  /** As in {@link OpDefinition}. */
  infer(inputs: readonly (TensorSpec | undefined)[], attributes: Attributes): TensorSpec[];
  /** As in {@link OpDefinition}. */
  residuals?(
    inputs: readonly (TensorSpec | undefined)[],
    attributes: Attributes,
  ): readonly TensorSpec[];
  /** As in {@link OpDefinition}. */
  gradient?(
    call: GradientCall<OpInputs, Attributes, readonly Tensor[], readonly Tensor[]>,
  ): readonly (Tensor | undefined)[];
  /** As in {@link OpDefinition}. */
  backward?(): AnyOp;
  /** As in {@link OpDefinition}. */
  format?(inputs: readonly (TensorSpec | undefined)[], attributes: Attributes): string | undefined;
  /** As in {@link OpDefinition}. */
  decompose?(inputs: OpInputs, attributes: Attributes): readonly Tensor[];
  /** As in {@link OpDefinition}. */
  replay?(inputs: OpInputs, attributes: Attributes, kept: readonly Tensor[]): readonly Tensor[];
}

/** Any op, whatever it takes and gives. */
export interface AnyOp {
  readonly name: string;
  readonly identity: OpIdentity;
  readonly definition: ErasedDefinition;
}

/** An op: call it with its inputs and attributes. */
export interface Op<
  I extends OpInputs,
  A extends object = NoAttributes,
  O extends OpOutputs = Tensor,
  R extends readonly Tensor[] = [],
> extends AnyOp {
  (...args: OpArguments<I, A>): O;
  readonly name: string;
  /** Only a type: what a fused op keeps for its backward. Never set. */
  readonly residualTypes?: R;
}

/** Makes an op of its definition. Outside packages may define ops too; they run everywhere. */
export function defineOp<
  I extends OpInputs,
  A extends object = NoAttributes,
  O extends OpOutputs = Tensor,
  R extends readonly Tensor[] = [],
>(definition: OpDefinition<I, A, O, R>): Op<I, A, O, R> {
  const identity: OpIdentity = {
    name: definition.name,
    inputs: definition.inputs,
    outputs: definition.outputs ?? ["output"],
    kernel: definition.kernel ?? "optional",
    dynamic: definition.dynamic ?? [],
  };
  const erased = erase(definition);
  const op = (...args: readonly unknown[]): Tensor | readonly Tensor[] => {
    const { engine, inputs, attributes } = readArguments(identity, args);
    const outputs = callOp(engine, { identity, definition: erased }, inputs, attributes);
    return definition.outputs === undefined ? (outputs[0] as Tensor) : outputs;
  };
  Object.defineProperty(op, "name", { value: identity.name });
  return Object.assign(op, { identity, definition: erased }) as unknown as Op<I, A, O, R>;
}

/** Forgets the types, and gives lists where an op of one output gives the output itself. */
function erase<
  I extends OpInputs,
  A extends object,
  O extends OpOutputs,
  R extends readonly Tensor[],
>(definition: OpDefinition<I, A, O, R>): ErasedDefinition {
  const original = definition as unknown as {
    infer(...args: readonly unknown[]): TensorSpec | readonly TensorSpec[];
    decompose?(...args: readonly unknown[]): Tensor | readonly Tensor[];
    replay?(...args: readonly unknown[]): Tensor | readonly Tensor[];
  } & Omit<ErasedDefinition, "infer" | "decompose" | "replay">;
  const list = <T>(value: T | readonly T[]): T[] => (Array.isArray(value) ? value : [value]) as T[];
  const { decompose, replay, residuals, gradient, backward, format } = original;
  return {
    infer: (inputs, attributes) => list(original.infer(inputs, attributes)),
    ...(residuals && { residuals }),
    ...(gradient && { gradient }),
    ...(backward && { backward }),
    ...(format && { format }),
    ...(decompose && { decompose: (inputs, attributes) => list(decompose(inputs, attributes)) }),
    ...(replay && { replay: (inputs, attributes, kept) => list(replay(inputs, attributes, kept)) }),
  };
}

function readArguments(
  identity: OpIdentity,
  args: readonly unknown[],
): { engine: ReturnType<typeof engineOf>; inputs: OpInputs; attributes: Attributes } {
  const { name } = identity;
  if (identity.inputs.length === 0) {
    const [backend, attributes] = args as [Backend, Attributes];
    return { engine: engineOf(backend, name), inputs: [], attributes };
  }
  const last = args.at(-1);
  const variadicEnd = isTensor(last) ? args.length : args.length - 1;
  const count = identity.inputs === "variadic" ? variadicEnd : identity.inputs.length;
  const inputs = args.slice(0, count) as OpInputs;
  const first = inputs.find((input) => input !== undefined);
  for (const [index, input] of inputs.entries()) {
    if (input === undefined || isTensor(input)) continue;
    throw new ConfigError(
      `${name}: input ${index} is not a tensor; make one with backend.tensor(data)`,
      inputName(identity, index),
      input,
      { op: name },
    );
  }
  if (first === undefined) {
    throw new ConfigError(`${name} needs at least one tensor`, "inputs", undefined, { op: name });
  }
  const attributes = (args[count] ?? {}) as Attributes;
  return { engine: engineOf(first.backend, name), inputs, attributes };
}

function inputName(identity: OpIdentity, index: number): string {
  return identity.inputs === "variadic" ? `inputs[${index}]` : (identity.inputs[index] ?? "");
}

import type { Attributes, OpIdentity, TensorSpec } from "./contract.ts";
import { isFloat, isInteger } from "./dtype.ts";
import type { Engine } from "./engine.ts";
import { ConfigError, UnsupportedError } from "./errors.ts";
import type { ErasedDefinition, OpInputs } from "./op.ts";
import { type Tensor, alias, assertAlive, internals } from "./tensor.ts";
import { type Trace, retain, traceOf } from "./trace.ts";

/** An op as a call sees it. */
export interface CalledOp {
  readonly identity: OpIdentity;
  readonly definition: ErasedDefinition;
}

/**
 * Calls an op: checks its inputs, infers its outputs, runs the driver's kernel or the decomposition,
 * and records a gradient node when an input is traced. Returns new tensors.
 */
export function callOp(
  engine: Engine,
  op: CalledOp,
  inputs: OpInputs,
  attributes: Attributes,
): readonly Tensor[] {
  checkInputs(engine, op, inputs);
  const specs = op.definition.infer(inputs, attributes);
  const trace = specs.some((spec) => isFloat(spec.dtype)) ? traceOf(inputs) : undefined;
  const outputs =
    trace === undefined
      ? runUntraced(engine, op, inputs, attributes, specs)
      : runTraced(trace, op, inputs, attributes, specs);
  for (const input of inputs) if (input?.[internals].donated) input.dispose();
  return outputs;
}

function checkInputs(engine: Engine, { identity }: CalledOp, inputs: OpInputs): void {
  const op = identity.name;
  for (const [index, input] of inputs.entries()) {
    if (input === undefined) {
      const name = identity.inputs === "variadic" ? `${index}` : (identity.inputs[index] ?? "");
      if (name.endsWith("?")) continue;
      throw new ConfigError(`${op}: input ${name} is missing`, name, undefined, { op });
    }
    assertAlive(input, op);
    if (input[internals].engine === engine) continue;
    throw new ConfigError(
      `${op}: inputs live on two backends (${engine.name} and ${input.backend.name}); ` +
        "read one and upload it to the other",
      "backend",
      input.backend.name,
      { op },
    );
  }
}

function runUntraced(
  engine: Engine,
  op: CalledOp,
  inputs: OpInputs,
  attributes: Attributes,
  specs: readonly TensorSpec[],
): readonly Tensor[] {
  const { identity, definition } = op;
  const format = definition.format?.(inputs, attributes);
  const { formats, fusedFormats = formats } = engine.capabilities;
  const readable = format === undefined || fusedFormats.includes(format);
  if (readable && engine.supports(identity))
    return runKernel(engine, op, inputs, attributes, specs, []);
  if (definition.decompose) return decompose(engine, op, inputs, attributes);
  throw new UnsupportedError(
    `backend ${engine.name} has no kernel for ${identity.name}, which the ${identity.kernel} ` +
      "profile requires; use a backend that has it",
    identity.name,
    { op: identity.name, shapes: inputs.map((input) => input?.shape ?? null) },
  );
}

function runTraced(
  trace: Trace,
  op: CalledOp,
  inputs: OpInputs,
  attributes: Attributes,
  specs: readonly TensorSpec[],
): readonly Tensor[] {
  const { engine } = trace;
  const { identity, definition } = op;
  const backward = definition.backward?.();
  const fused =
    definition.format?.(inputs, attributes) === undefined &&
    (backward === undefined || (engine.supports(identity) && engine.supports(backward)));
  if (!definition.gradient || !fused) {
    if (definition.decompose) return decompose(engine, op, inputs, attributes);
    throw new UnsupportedError(
      `${identity.name} has no gradient; wrap its input in stopGradient, or use customGradient`,
      `gradient of ${identity.name}`,
      { op: identity.name },
    );
  }
  const detached = inputs.map((input) => input && detach(input));
  const wanted =
    backward && trace.lean === undefined ? definition.residuals?.(inputs, attributes) : [];
  const all =
    engine.supports(identity) || !definition.decompose
      ? runKernel(engine, op, detached, attributes, specs, wanted ?? [])
      : decompose(engine, op, detached, attributes);
  const outputs = all.slice(0, specs.length);
  const residuals = all.slice(specs.length);
  const traced = trace.record(inputs, outputs, () => {
    const saved = {
      inputs: detached.map((input) => input && retain(input)),
      outputs: outputs.map(retain),
      residuals: residuals.map(retain),
    };
    return {
      pullback: (gradients, needs) =>
        definition.gradient?.({ ...saved, attributes, gradients, needs } as never) ?? [],
      saved: [...saved.inputs, ...saved.outputs, ...saved.residuals].filter(
        (tensor): tensor is Tensor => tensor !== undefined,
      ),
    };
  });
  for (const tensor of [...detached, ...residuals]) tensor?.dispose();
  return traced;
}

/** Runs the kernel; under a checkpoint, integers chosen from floats are kept or played back. */
function runKernel(
  engine: Engine,
  op: CalledOp,
  inputs: OpInputs,
  attributes: Attributes,
  specs: readonly TensorSpec[],
  residuals: readonly TensorSpec[],
): readonly Tensor[] {
  const chooses =
    engine.choices !== undefined &&
    specs.some((spec) => isInteger(spec.dtype)) &&
    inputs.some((input) => input !== undefined && isFloat(input.dtype));
  const run = (): readonly Tensor[] =>
    engine.run(op.identity, inputs, attributes, specs, residuals);
  if (!chooses || engine.choices === undefined) return run();
  const kept = engine.choices.next();
  if (kept === undefined) {
    const outputs = run();
    engine.choices.keep(outputs.filter((output) => isInteger(output.dtype)));
    return outputs;
  }
  if (op.definition.replay && residuals.length === 0) {
    return distinct(op.definition.replay(inputs, attributes, kept), [...inputs, ...kept]);
  }
  let used = 0;
  return run().map((output) => {
    if (!isInteger(output.dtype)) return output;
    const replacement = kept[used++];
    if (replacement === undefined) return output;
    output.dispose();
    return alias(replacement, undefined);
  });
}

function decompose(
  engine: Engine,
  { identity, definition }: CalledOp,
  inputs: OpInputs,
  attributes: Attributes,
): readonly Tensor[] {
  engine.noteDecomposed(identity.name);
  return engine.scope(() => {
    // Several ops may read a donated input in here, so none of them may take it.
    const lent = inputs.map((input) =>
      input?.[internals].donated ? alias(input, input[internals].source) : input,
    );
    return distinct(definition.decompose?.(lent, attributes) ?? [], lent);
  });
}

/** Gives every output a tensor of its own, so that disposing an output never disposes an input. */
function distinct(outputs: readonly Tensor[], taken: OpInputs): readonly Tensor[] {
  return outputs.map((output) =>
    taken.includes(output) ? alias(output, output[internals].source) : output,
  );
}

/** An untraced alias that keeps the donation of its input. */
function detach(tensor: Tensor): Tensor {
  const detached = alias(tensor, undefined);
  detached[internals].donated = tensor[internals].donated;
  return detached;
}

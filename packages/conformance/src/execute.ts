import type { Backend, FloatDType, Tensor } from "@moiety/core";
import type { HostTensors, Program, Tensors } from "./case.ts";
import { type HostTensor, widened } from "./host-tensor.ts";

/**
 * Uploads the inputs, runs the program in a scope, hands its outputs to `use`, and disposes
 * everything. Float32 inputs become float64 where `float` is f64.
 */
export async function withOutputs<Inputs extends HostTensors, Outputs extends Tensors, Result>(
  backend: Backend,
  float: FloatDType,
  inputs: Inputs,
  program: Program<Inputs, Outputs>,
  use: (outputs: Outputs) => Promise<Result>,
): Promise<Result> {
  const uploaded: Record<string, Tensor> = {};
  let outputs: Outputs | undefined;
  try {
    for (const [name, given] of Object.entries(inputs)) {
      const { data, shape, dtype } = float === "f64" ? widened(given) : given;
      uploaded[name] = backend.tensor(data, { shape, dtype });
    }
    const given = { ...uploaded } as { [Name in keyof Inputs]: Tensor };
    outputs = backend.scope(() => program({ backend, float, inputs: given }));
    return await use(outputs);
  } finally {
    for (const tensor of Object.values(outputs ?? {})) tensor.dispose();
    for (const tensor of Object.values(uploaded)) tensor.dispose();
  }
}

/** Reads tensors to the host, all in flight at once. */
export async function readAll<Outputs extends Tensors>(
  outputs: Outputs,
): Promise<{ readonly [Name in keyof Outputs]: HostTensor }> {
  const entries = Object.entries(outputs).map(async ([name, tensor]) => {
    const { shape, dtype } = tensor;
    return [name, { data: await tensor.read(), shape, dtype }] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as {
    [Name in keyof Outputs]: HostTensor;
  };
}

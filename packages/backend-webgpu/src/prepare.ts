import { type Driver, type OpIdentity, type TensorSpec, byteLength } from "@moiety/core";
import { type Sample, samplesByOp } from "./samples.ts";

/** Runs small calls of these ops, whose kernels are compiled meanwhile, and drops what they give. */
export function runSamples<Handle>(
  driver: Pick<Driver<Handle>, "allocate" | "write" | "run" | "free">,
  ops: readonly OpIdentity[],
): void {
  const samples = samplesByOp();
  for (const op of ops) {
    for (const sample of samples[op.name] ?? []) runSample(driver, op, sample);
  }
}

function runSample<Handle>(
  driver: Pick<Driver<Handle>, "allocate" | "write" | "run" | "free">,
  op: OpIdentity,
  { inputs, attributes, outputs }: Sample,
): void {
  const zeros = (spec: TensorSpec): Handle => {
    const handle = driver.allocate(spec);
    // Offsets that nobody wrote could make a kernel run for long.
    driver.write(handle, 0, new Uint8Array(byteLength(spec)));
    return handle;
  };
  const given = inputs.map((spec) => spec && { ...spec, handle: zeros(spec), donated: false });
  const key = `prepare ${op.name}`;
  const made = driver.run({ op, key, inputs: given, attributes, outputs, residuals: [] });
  for (const handle of [...given.map((input) => input?.handle), ...made]) {
    if (handle !== undefined) driver.free(handle);
  }
}

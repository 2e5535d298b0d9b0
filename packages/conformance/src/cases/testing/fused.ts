import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import {
  type AttentionAttributes,
  type Backend,
  type Driver,
  type FfnDescriptor,
  type RunCall,
  type Tensor,
  type TensorSpec,
  add,
  byteLength,
  defineBackend,
  logSumExp,
  mean,
  productFormats,
  rsqrt,
  square,
} from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { logSumExpOf } from "../attention-residual.ts";
import { hiddenOf } from "../extension-fused-backward.ts";
import type { FfnTensors } from "../l3-ffn-support.ts";

/** Changes what a fused kernel gave, in place. */
export type Spoil = (call: RunCall<CpuBuffer>, outputs: readonly CpuBuffer[]) => void;

/** Changes what a fused kernel is asked. */
export type Bend = (call: RunCall<CpuBuffer>) => RunCall<CpuBuffer>;

/** What is wrong with a backend of {@link fused}. */
export interface FusedFault {
  readonly bend?: Bend;
  readonly spoil?: Spoil;
}

/** Memory of the oracle, seen by a second engine that may borrow its buffers. */
class Lender {
  readonly #driver: Driver<CpuBuffer>;
  readonly #engine: Backend;
  readonly #lent = new Set<CpuBuffer>();
  readonly #kept = new Set<CpuBuffer>();
  #next: CpuBuffer | undefined;

  constructor(driver: Driver<CpuBuffer>) {
    this.#driver = driver;
    this.#engine = defineBackend<CpuBuffer>({
      specVersion: 1,
      name: "inner",
      capabilities: driver.capabilities,
      allocate: (spec) => {
        const next = this.#next ?? driver.allocate(spec);
        this.#next = undefined;
        return next;
      },
      write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
      read: (handle, offset, length) => driver.read(handle, offset, length),
      free: (handle) => {
        if (!this.#lent.has(handle) && !this.#kept.has(handle)) driver.free(handle);
      },
      run: (call) => driver.run(call),
      sync: () => driver.sync(),
      statistics: () => driver.statistics(),
      dispose: () => undefined,
    });
  }

  /** Runs a body on borrowed buffers; what it returns are buffers of its own. */
  run(
    inputs: RunCall<CpuBuffer>["inputs"],
    specs: readonly TensorSpec[],
    body: (inputs: readonly (Tensor | undefined)[]) => readonly Tensor[],
  ): CpuBuffer[] {
    for (const input of inputs) if (input) this.#lent.add(input.handle);
    const borrowed = inputs.map((input) => {
      if (!input) return undefined;
      this.#next = input.handle;
      return this.#engine.upload({ shape: input.shape, dtype: input.dtype }).finish();
    });
    const outputs = this.#engine.scope(() => body(borrowed));
    const handles = outputs.map((output, index) => this.#own(output, specs[index]));
    for (const tensor of [...outputs, ...borrowed]) tensor?.dispose();
    this.#lent.clear();
    this.#kept.clear();
    return handles;
  }

  #own(output: Tensor, spec: TensorSpec | undefined): CpuBuffer {
    const handle = output["~tensor"].storage.handle as CpuBuffer;
    if (!this.#lent.has(handle) && !this.#kept.has(handle)) {
      this.#kept.add(handle);
      return handle;
    }
    const { shape, dtype } = output;
    const copy = this.#driver.allocate(spec ?? { shape, dtype });
    const bytes = byteLength({ shape, dtype });
    new Uint8Array(copy.block).set(new Uint8Array(handle.block, 0, bytes));
    return copy;
  }
}

/** What the backward of an op wants kept, by the book. */
function residualsOf(
  name: string,
  inputs: readonly (Tensor | undefined)[],
  attributes: RunCall<CpuBuffer>["attributes"],
): Tensor[] {
  const [x, second, third, up, down, upBias, downBias, inputWeights] = inputs as Tensor[];
  if (x === undefined) return [];
  switch (name) {
    case "rmsNorm":
      return [rsqrt(add(mean(square(x), [-1], true), attributes["epsilon"] as number))];
    case "crossEntropy":
      return [logSumExp(x)];
    case "attention":
      return [
        logSumExpOf(
          { q: x, k: second as Tensor, mask: up, sinks: down },
          attributes as unknown as AttentionAttributes,
        ),
      ];
    case "moeFfn": {
      const given = { x, indices: second, outputWeights: third, up, down } as FfnTensors;
      const all = { ...given, upBias, downBias, inputWeights } as FfnTensors;
      return [hiddenOf(all, attributes["descriptor"] as unknown as FfnDescriptor)];
    }
    default:
      return [];
  }
}

/**
 * The oracle with a kernel of every fused op, which runs its decomposition, and a fault if one is
 * given. Its fused ops take weights in half floats and in every format.
 */
export function fused({ bend, spoil }: FusedFault = {}): Backend {
  const driver = cpuDriver();
  const lender = new Lender(driver);
  const kernels = new Map(
    allOps.flatMap((op) => (op.definition.decompose ? [[op.name, op.definition] as const] : [])),
  );
  const { capabilities } = driver;
  return defineBackend<CpuBuffer>({
    specVersion: 1,
    name: "fused",
    capabilities: {
      ...capabilities,
      ops: [...capabilities.ops, ...kernels.keys()],
      formats: [...new Set([...capabilities.formats, ...productFormats, "f16", "bf16"])],
    },
    allocate: (spec) => driver.allocate(spec),
    write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
    read: (handle, offset, length) => driver.read(handle, offset, length),
    free: (handle) => driver.free(handle),
    run(given) {
      const call = bend ? bend(given) : given;
      const { op, inputs, attributes, outputs, residuals } = call;
      const definition = kernels.get(op.name);
      if (!definition) return driver.run(call);
      const handles = lender.run(inputs, [...outputs, ...residuals], (tensors) => [
        ...(definition.decompose?.(tensors, attributes) ?? []),
        ...(residuals.length > 0 ? residualsOf(op.name, tensors, attributes) : []),
      ]);
      spoil?.(call, handles);
      return handles;
    },
    sync: () => driver.sync(),
    statistics: () => driver.statistics(),
    dispose: () => driver.dispose(),
  });
}

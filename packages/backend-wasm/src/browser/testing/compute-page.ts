import {
  type Backend,
  apply,
  matmul,
  moe,
  mul,
  normal,
  randomKey,
  softmax,
  sum,
  topK,
  valueAndGrad,
} from "@moiety/core";
import { glu } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";
import create, { loseDevice } from "../../index.ts";
import type { WasmOptions } from "../../options.ts";
import { type Features, probe } from "../../probe.ts";

/** What the page found. */
export interface ComputeReport {
  readonly isolated: boolean;
  readonly features: Features;
  readonly details: Readonly<Record<string, unknown>>;
  /** Digests of what programs give. */
  readonly digests: readonly string[];
  /** Those after the threads were lost and brought back. */
  readonly recovered: readonly string[];
}

/** Runs programs on a backend with these options, and again after its loss. */
export default async function compute(options: WasmOptions): Promise<ComputeReport> {
  const { crossOriginIsolated } = globalThis as unknown as {
    readonly crossOriginIsolated: boolean;
  };
  const backend = await create(options);
  const digests = await run(backend);
  await loseDevice(backend);
  await backend.recover();
  const recovered = await run(backend);
  const { details = {} } = backend.capabilities;
  await backend.dispose();
  return { isolated: crossOriginIsolated, features: probe(), details, digests, recovered };
}

/** Digests of a product, a choice, and a layer's output and gradient. */
export async function run(backend: Backend): Promise<string[]> {
  const tensors = backend.scope(() => {
    const x = normal(backend, { key: randomKey(1), shape: [500, 64], dtype: "f32" });
    const layer = moe({
      router: mixtralRouter({ hiddenSize: 64, numLocalExperts: 6, numExpertsPerTok: 2 }),
      experts: glu({ experts: 6, hiddenSize: 64, intermediateSize: 40, activation: "silu" }),
    });
    const { params, state } = layer.init(randomKey(2), { backend });
    const { loss, grads } = valueAndGrad((given: typeof params) => {
      const { output } = apply(layer, given, state, x);
      return sum(mul(output, output));
    })(params);
    const scores = softmax(matmul(x, x, { transposeB: true }));
    return [loss, grads.experts.down, scores, ...topK(scores, undefined, { k: 3 })];
  });
  const digests: string[] = [];
  for (const tensor of tensors) {
    if (tensor === null) throw new Error("no gradient");
    // oxlint-disable-next-line no-await-in-loop -- in their order
    digests.push(digest(await tensor.read()));
    tensor.dispose();
  }
  return digests;
}

/** Equal bits have equal digests, others hardly ever. */
function digest(values: ArrayBufferView): string {
  let hash = 0x811c9dc5;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return `${bytes.length}:${(hash >>> 0).toString(16)}`;
}

import { computeOn } from "../../testing/compute.ts";

/** What the page found. */
export interface ComputeReport {
  readonly isolated: boolean;
  readonly adapter: { readonly vendor: string; readonly architecture: string };
  readonly computed: readonly number[];
}

interface PageGlobals {
  readonly crossOriginIsolated: boolean;
  readonly navigator: NavigatorGPU;
}

/** Runs one kernel on the browser's own WebGPU. */
export default async function compute(values: readonly number[]): Promise<ComputeReport> {
  const { crossOriginIsolated, navigator } = globalThis as unknown as PageGlobals;
  const adapter = await navigator.gpu.requestAdapter();
  if (adapter === null) throw new Error("the browser gives no adapter");
  const { vendor, architecture } = adapter.info;
  const device = await adapter.requestDevice();
  const computed = await computeOn(device, values);
  device.destroy();
  return {
    isolated: crossOriginIsolated && typeof SharedArrayBuffer === "function",
    adapter: { vendor, architecture },
    computed,
  };
}

/// <reference types="@webgpu/types" />
import { UnsupportedError } from "@moiety/core";
import { type GpuContext, type Tiling, deviceDescriptor, missingLimits } from "./context.ts";
import { SEGMENT_STEP, type Settings } from "./options.ts";

/** A device, and what must stay reachable while it is used. */
export interface AcquiredDevice {
  readonly context: GpuContext;
  /** Whether the backend made the device, and so destroys it. */
  readonly own: boolean;
  /** Dawn's Node binding crashes when this is collected before the device. */
  readonly keep: unknown;
}

/**
 * Takes the given device or makes one.
 * @throws UnsupportedError where there is no adapter, or none that is large enough
 */
export async function acquireDevice(settings: Settings): Promise<AcquiredDevice> {
  if (settings.device !== undefined) {
    const given = settings.device;
    const device = typeof given === "function" ? await given() : given;
    return { context: contextOf(device, undefined, settings), own: false, keep: device };
  }
  const gpu = settings.gpu ?? (await findGpu(settings.dawnFlags));
  const { powerPreference } = settings;
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  if (adapter === null) {
    throw new UnsupportedError(
      "there is no WebGPU adapter: the machine needs a GPU driver (on Linux Vulkan: a loader, " +
        "libvulkan.so.1, and a driver such as Mesa's), or a browser with WebGPU switched on",
      "WebGPU adapter",
    );
  }
  assertLimits(adapter.limits, "the WebGPU adapter");
  const device = await requestDevice(adapter, settings);
  return { context: contextOf(device, adapter, settings), own: true, keep: gpu };
}

async function requestDevice(adapter: GPUAdapter, settings: Settings): Promise<GPUDevice> {
  try {
    return await adapter.requestDevice(deviceDescriptor(adapter, settings));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UnsupportedError(`the WebGPU adapter gave no device: ${why}`, "WebGPU device", {
      cause,
    });
  }
}

async function findGpu(dawnFlags: readonly string[]): Promise<GPU> {
  const { navigator } = globalThis as { readonly navigator?: { readonly gpu?: GPU | undefined } };
  if (navigator?.gpu) return navigator.gpu;
  const inNode = "process" in globalThis && !("window" in globalThis);
  if (!inNode) {
    throw new UnsupportedError(
      "this browser has no WebGPU here: use a recent one, and a page served over https or from localhost",
      "navigator.gpu",
    );
  }
  return loadDawn(dawnFlags);
}

/** The optional peer `webgpu`: Dawn for Node. */
interface DawnModule {
  create(flags: readonly string[]): GPU;
}

async function loadDawn(flags: readonly string[]): Promise<GPU> {
  // A name that bundlers do not follow: browsers have no use for the package.
  const name = "webgpu";
  try {
    const { create } = (await import(/* @vite-ignore */ name)) as DawnModule;
    return create(flags);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new UnsupportedError(
      `WebGPU in Node comes with the package "webgpu", which could not be loaded (${why}); ` +
        "install it: npm install webgpu",
      "webgpu",
      { cause },
    );
  }
}

function assertLimits(limits: GPUSupportedLimits, whose: string): void {
  const missing = missingLimits(limits);
  if (missing.length === 0) return;
  throw new UnsupportedError(`${whose} is too small: ${missing.join("; ")}`, "WebGPU limits");
}

/** Kernels number what they read in 32 bits, also codes of half a byte. */
const LARGEST_SEGMENT = 2 ** 31;

function contextOf(
  device: GPUDevice,
  adapter: GPUAdapter | undefined,
  settings: Settings,
): GpuContext {
  assertLimits(device.limits, "the WebGPU device");
  const info = adapter?.info ?? device.adapterInfo;
  const words = [info.vendor, info.architecture, info.device, info.description];
  const text = words.filter((word) => word !== "").join(" ");
  const software = (info.isFallbackAdapter ?? false) || /swiftshader|llvmpipe/i.test(text);
  const { limits, features } = device;
  const bindable = Math.min(
    limits.maxStorageBufferBindingSize,
    limits.maxBufferSize,
    settings.segmentBytes,
    LARGEST_SEGMENT,
  );
  const usable = (feature: GPUFeatureName): boolean =>
    features.has(feature) && settings.features.includes(feature);
  const tiling: Tiling = settings.tiling ?? (software ? "registers" : "workgroup");
  return {
    device,
    info: { vendor: info.vendor, architecture: info.architecture, text },
    software,
    f16: usable("shader-f16"),
    subgroups: usable("subgroups"),
    subgroupSize: usable("subgroups") ? fixedSize(info) : 0,
    segmentBytes: Math.floor(bindable / SEGMENT_STEP) * SEGMENT_STEP,
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    workgroupBytes: limits.maxComputeWorkgroupStorageSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    tiling,
    batchInvariant: settings.batchInvariant,
  };
}

/** The size that all subgroups have; 0 where it varies, or nobody says. */
function fixedSize({ subgroupMinSize, subgroupMaxSize }: GPUAdapterInfo): number {
  return subgroupMinSize === subgroupMaxSize ? (subgroupMinSize ?? 0) : 0;
}

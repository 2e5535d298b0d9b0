/// <reference types="@webgpu/types" />
import { DeviceLostError } from "@moiety/core";

/** What was asked of the device; see `WebGpuOptions`. */
export interface DeviceWishes {
  /** Take the adapter's limits, or WebGPU's defaults. */
  readonly limits: "adapter" | "default";
  /** Optional features that may be used. */
  readonly features: readonly GPUFeatureName[];
}

/** Optional features that kernels have variants for. */
export const USED_FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups"];

/** Limits that are raised to the adapter's, and why: fewer segments, larger tiles, more operands. */
const RAISED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const;

/** The smallest limits that the kernels need: WebGPU's defaults. */
const NEEDED_LIMITS = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65_535,
  maxStorageBufferBindingSize: 2 ** 27,
} as const;

/** Names of the limits in which an adapter or device falls short, with what it has. */
export function missingLimits(limits: GPUSupportedLimits): string[] {
  return Object.entries(NEEDED_LIMITS).flatMap(([name, needed]) => {
    const found = limits[name as keyof typeof NEEDED_LIMITS];
    return found >= needed ? [] : [`${name} is ${found}, but ${needed} is needed`];
  });
}

/** What to ask an adapter for. */
export function deviceDescriptor(adapter: GPUAdapter, wishes: DeviceWishes): GPUDeviceDescriptor {
  const requiredLimits: Record<string, number> = {};
  if (wishes.limits === "adapter") {
    for (const name of RAISED_LIMITS) requiredLimits[name] = adapter.limits[name];
  }
  const requiredFeatures = wishes.features.filter((feature) => adapter.features.has(feature));
  return { label: "moiety", requiredLimits, requiredFeatures };
}

/** How kernels cut their work. */
export type Tiling = "workgroup" | "registers";

/** A device with what kernels ask about it. One for each life of a device. */
export interface GpuContext {
  readonly device: GPUDevice;
  /** Of the adapter or device, as far as the platform tells. */
  readonly info: { readonly vendor: string; readonly architecture: string; readonly text: string };
  /** Whether no hardware does the work. */
  readonly software: boolean;
  /** Half floats in WGSL. */
  readonly f16: boolean;
  readonly subgroups: boolean;
  /** Invocations of every subgroup; 0 where there are none, or where their size varies. */
  readonly subgroupSize: number;
  /** Bytes of the largest piece of a tensor in one binding; a multiple of 256. */
  readonly segmentBytes: number;
  readonly storageBuffers: number;
  readonly workgroupBytes: number;
  readonly invocations: number;
  /** Whether products go through workgroup memory, or only through registers. */
  readonly tiling: Tiling;
  /** Whether sums have one order for every number of tokens. */
  readonly batchInvariant: boolean;
}

/** Workgroups of one dimension. */
export const GROUPS_PER_DIMENSION = 65_535;

/** Counts of what was done since the driver was made, for tests and benchmarks. */
export interface Counters {
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
  /** Buffers mapped for reading: reads from the device. */
  readonly maps: number;
  readonly buffersCreated: number;
}

/** The error that everything on a lost device ends in. */
export function deviceLost(why: string): DeviceLostError {
  return new DeviceLostError(
    `the WebGPU device was lost (${why}); call backend.recover() and upload the parameters again`,
  );
}

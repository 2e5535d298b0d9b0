/// <reference types="@webgpu/types" />
import { ConfigError } from "@moiety/core";
import { type Tiling, USED_FEATURES } from "./context.ts";

/** Options of the backend. */
export interface WebGpuOptions {
  /**
   * A device to use instead of one of its own; it is not destroyed by `dispose`. As a function it is
   * asked again by `recover`.
   */
  readonly device?: GPUDevice | (() => Promise<GPUDevice>) | undefined;
  /** Where adapters come from: `navigator.gpu`, or in Node the package `webgpu`, unless given. */
  readonly gpu?: GPU | undefined;
  /** Which adapter to prefer where there are several. */
  readonly powerPreference?: GPUPowerPreference | undefined;
  /** In Node, flags of Dawn for the package `webgpu`, such as `adapter=llvmpipe`. */
  readonly dawnFlags?: readonly string[] | undefined;
  /** Ask for the adapter's limits (unless given), or do with WebGPU's defaults. */
  readonly limits?: "adapter" | "default" | undefined;
  /** Optional features that may be used where they are; `shader-f16` and `subgroups` unless given. */
  readonly features?: readonly GPUFeatureName[] | undefined;
  /** Bytes that live tensors may take together; unlimited unless given. */
  readonly memoryLimit?: number | undefined;
  /** Bytes of a tensor's segments: at most a binding's limit, which it is unless given. */
  readonly segmentBytes?: number | undefined;
  /**
   * Whether a token gets the same bits whatever else is in the batch, in prefill and in decode: one
   * order of sums for every number of tokens. True unless given. With false, products of at most 8
   * rows may add along k by lanes, which reads weights in one piece; repeated calls still give the
   * same bits.
   */
  readonly batchInvariant?: boolean | undefined;
  /**
   * How products are cut: through `workgroup` memory, or through `registers` alone, which is faster
   * where no hardware does the work. Chosen by the adapter unless given; the values are the same.
   */
  readonly tiling?: Tiling | undefined;
  /** Names the call that caused a GPU error, at the price of a submit for each command. */
  readonly debug?: boolean | undefined;
}

/** The options with their defaults. */
export interface Settings {
  readonly device: GPUDevice | (() => Promise<GPUDevice>) | undefined;
  readonly gpu: GPU | undefined;
  readonly powerPreference: GPUPowerPreference | undefined;
  readonly dawnFlags: readonly string[];
  readonly limits: "adapter" | "default";
  readonly features: readonly GPUFeatureName[];
  readonly memoryLimit: number;
  readonly segmentBytes: number;
  readonly batchInvariant: boolean;
  readonly tiling: Tiling | undefined;
  readonly debug: boolean;
}

/** Segments begin at multiples of it. */
export const SEGMENT_STEP = 256;

/** Fills in defaults. Throws {@link ConfigError} with the key of a bad value. */
export function readOptions(options: WebGpuOptions = {}): Settings {
  const { memoryLimit, segmentBytes, limits = "adapter", tiling } = options;
  requireBytes("memoryLimit", memoryLimit, 1);
  requireBytes("segmentBytes", segmentBytes, SEGMENT_STEP);
  requireOneOf("limits", limits, ["adapter", "default"]);
  if (tiling !== undefined) requireOneOf("tiling", tiling, ["workgroup", "registers"]);
  return {
    device: options.device,
    gpu: options.gpu,
    powerPreference: options.powerPreference,
    dawnFlags: options.dawnFlags ?? [],
    limits,
    features: options.features ?? USED_FEATURES,
    memoryLimit: memoryLimit ?? Number.POSITIVE_INFINITY,
    segmentBytes: segmentBytes ?? Number.POSITIVE_INFINITY,
    batchInvariant: options.batchInvariant ?? true,
    tiling,
    debug: options.debug ?? false,
  };
}

function requireBytes(key: string, value: number | undefined, least: number): void {
  if (value === undefined || value >= least) return;
  throw new ConfigError(`${key} is ${value}, but must be at least ${least} bytes`, key, value);
}

function requireOneOf(key: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new ConfigError(`${key} is ${value}, but must be ${allowed.join(" or ")}`, key, value);
}

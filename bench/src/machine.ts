import type { Backend } from "@moiety/core";
import { driverOf } from "@moiety/backend-webgpu";

/** What figures hold for. */
export interface Machine {
  /** Vendor, architecture and device; on Vulkan the driver's version as well. */
  readonly adapter: string;
  readonly software: boolean;
  /** Optional features of the device. */
  readonly features: readonly string[];
  /** How products are cut. */
  readonly tiling: string;
  readonly platform: string;
  readonly date: string;
}

/**
 * Describes the machine that a WebGPU backend runs on. @throws Error where the adapter is not the one
 * that `MOIETY_WEBGPU_ADAPTER` names (a part of its description)
 */
export function machineOf(backend: Backend): Machine {
  const driver = driverOf(backend);
  if (driver === undefined) throw new Error(`${backend.name} is no WebGPU backend`);
  const { info, software, tiling } = driver.context;
  const wanted = process.env["MOIETY_WEBGPU_ADAPTER"] ?? "";
  if (!info.text.includes(wanted)) {
    throw new Error(`the WebGPU adapter is "${info.text}", but "${wanted}" was asked for`);
  }
  return {
    adapter: info.text,
    software,
    features: [...driver.device.features].sort(),
    tiling,
    platform: `${process.platform}-${process.arch}, Node ${process.versions.node}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** What a process needs in its environment, from its start on, to find the software driver. */
export interface SoftwareEnvironment {
  /** The folder of the Vulkan loader, before what the variable held. */
  readonly LD_LIBRARY_PATH: string;
  /** The file that describes the driver to the loader. */
  readonly VK_DRIVER_FILES: string;
  /** Any folder: without one the loader complains. */
  readonly XDG_RUNTIME_DIR: string;
}

/** A browser that has WebGPU on a machine without a GPU. */
export interface Browser {
  readonly executable: string;
  /** Whether it is the packaged one, whose WebGPU is SwiftShader's. */
  readonly packaged: boolean;
  /** The whole environment of its process. */
  readonly environment: { readonly [name: string]: string };
}

/** `MOIETY_WEBGPU`: the packaged driver or the machine's own; undefined when unset. */
export function driverChoice(environment?: NodeJS.ProcessEnv): "software" | "system" | undefined;

/**
 * Unpacks SwiftShader, a Vulkan driver that computes on the CPU, out of an installed npm package.
 * Undefined with `MOIETY_WEBGPU=system`, and elsewhere than on Linux x64.
 */
export function softwareEnvironment(
  environment?: NodeJS.ProcessEnv,
): Promise<SoftwareEnvironment | undefined>;

/**
 * The browser that `MOIETY_CHROMIUM` names, else a headless Chromium unpacked out of an installed
 * npm package; undefined elsewhere than on Linux x64.
 */
export function browser(environment?: NodeJS.ProcessEnv): Promise<Browser | undefined>;

/** The folder below which all of it lies. */
export function cacheFolder(): string;

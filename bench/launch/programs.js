/**
 * The benchmarks by name.
 *
 * @type {Readonly<Record<string, {
 *   file: string,
 *   selfContained?: boolean,
 *   peers?: boolean,
 *   gpu?: (rest: readonly string[]) => boolean,
 * }>>} `selfContained`: the bundle holds all but the package `webgpu`; `peers`: it measures beside
 *   others; `gpu`: whether these arguments make it need WebGPU
 */
export const programs = {
  kernels: { file: "kernels.ts", gpu: (rest) => rest.some((word) => word.includes("webgpu")) },
  moe: { file: "moe.ts", peers: true },
  generate: { file: "generate.ts", peers: true },
  webgpu: { file: "webgpu.ts", peers: true, gpu: () => true },
  gpu: { file: "gpu.ts", selfContained: true, gpu: () => true },
};

/** Those that run when none is named. */
export const usual = ["kernels", "webgpu"];

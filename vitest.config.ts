import { type ViteUserConfig, defineConfig } from "vitest/config";
import { softwareEnvironment } from "./tools/webgpu/software.js";

const source = "@moiety/source";
const software = await softwareEnvironment();

const config: ViteUserConfig = defineConfig({
  resolve: { conditions: [source, "module", "node"] },
  ssr: { resolve: { conditions: [source, "module", "node"] } },
  test: {
    include: [
      "packages/*/src/**/*.test.ts",
      "apps/*/src/**/*.test.ts",
      "bench/**/*.test.ts",
      "tools/**/*.test.js",
    ],
    testTimeout: 30_000,
    // A driver is found only if the environment names it when the process starts: threads are too late.
    pool: "forks",
    // Unless told, one core stays idle; of two that is half.
    maxWorkers: "100%",
    env: software === undefined ? {} : { ...software, MOIETY_WEBGPU_ADAPTER: "SwiftShader" },
  },
});

export default config;

import { type ViteUserConfig, defineConfig } from "vitest/config";

const source = "@moiety/source";

const config: ViteUserConfig = defineConfig({
  resolve: { conditions: [source, "module", "node"] },
  ssr: { resolve: { conditions: [source, "module", "node"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "apps/*/src/**/*.test.ts", "tools/**/*.test.js"],
    testTimeout: 30_000,
  },
});

export default config;

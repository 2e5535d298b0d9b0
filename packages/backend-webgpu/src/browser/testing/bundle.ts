import { rolldown } from "rolldown";

/**
 * Bundles a module and all it imports into one file for a browser; packages of this workspace are
 * taken as their sources. What is there in Node only is left out: importing it fails in the page.
 */
export async function bundleForBrowser(entryFile: string): Promise<string> {
  const bundle = await rolldown({
    input: entryFile,
    platform: "browser",
    external: [/^node:/, "webgpu"],
    resolve: { conditionNames: ["@moiety/source", "module", "browser", "import", "default"] },
    onLog(level, log) {
      if (level === "warn") throw new Error(log.message);
    },
  });
  try {
    const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
    return output[0].code;
  } finally {
    await bundle.close();
  }
}

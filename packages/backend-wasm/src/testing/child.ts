import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** How a program ended. */
export interface Ended {
  /** `null`: a signal ended it. */
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** A program of `testing/children` as one file, which any Node runs. */
export interface ChildProgram {
  /**
   * Runs it in a process of its own, with flags of Node. One that has not ended by itself after
   * `timeout` milliseconds is killed.
   */
  run(flags?: readonly string[], args?: readonly string[], timeout?: number): Promise<Ended>;
  dispose(): Promise<void>;
}

/** Bundles a program. */
export async function bundleChild(name: string): Promise<ChildProgram> {
  const folder = await mkdtemp(join(tmpdir(), "moiety-child-"));
  const file = join(folder, "child.mjs");
  const bundle = await rolldown({
    input: fileURLToPath(new URL(`children/${name}.ts`, import.meta.url)),
    platform: "node",
    resolve: { conditionNames: ["@moiety/source", "module", "node", "import", "default"] },
  });
  try {
    const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
    await writeFile(file, output[0].code);
  } finally {
    await bundle.close();
  }
  return {
    run: (flags = [], args = [], timeout = 60_000) => runNode([...flags, file, ...args], timeout),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

function runNode(args: readonly string[], timeout: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { timeout, killSignal: "SIGKILL" });
    const text = { output: "", errors: "" };
    child.stdout.on("data", (part) => (text.output += String(part)));
    child.stderr.on("data", (part) => (text.errors += String(part)));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...text }));
  });
}

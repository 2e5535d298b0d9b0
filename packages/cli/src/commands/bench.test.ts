import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { UnsupportedError } from "@moiety/core";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { type Ran, runOn, withFolder } from "../testing/run-program.ts";
import { workspaceAbove } from "../workspace.ts";
import { BENCHMARKS, launcher } from "./bench.ts";

const root = resolve(import.meta.dirname, "../../../..");

interface Called extends Ran {
  readonly file: string;
  readonly words: readonly string[];
}

/** Runs the command; what it would start ends with an exit code. */
async function bench(code: number, ...words: string[]): Promise<Called> {
  let called: Pick<Called, "file" | "words"> = { file: "", words: [] };
  const ran = await runOn(
    {
      runNode: async (file, given) => {
        called = { file, words: given };
        return code;
      },
    },
    "bench",
    ...words,
  );
  return { ...ran, ...called };
}

describe("moiety bench", () => {
  it("knows the benchmarks that there are", async () => {
    const path = join(root, "bench/launch/programs.js");
    const { programs } = (await import(path)) as { readonly programs: object };
    expect(BENCHMARKS).toEqual(Object.keys(programs));
  });

  it.each([
    [[], []],
    [["moe"], ["moe"]],
    [
      ["kernels", "--no-peers", "--samples", "5"],
      ["kernels", "--samples", "5", "--no-peers"],
    ],
    [
      ["moe", "--threads", "2,1", "--json", "rows.json", "--short"],
      ["moe", "--json", resolve("rows.json"), "--threads", "2,1", "--short"],
    ],
    [
      ["gpu", "--bundle=out.mjs"],
      ["gpu", "--bundle=out.mjs"],
    ],
  ])("%j starts the repository's task with %j", async (given, words) => {
    const called = await bench(0, ...given);
    expect(called).toMatchObject({ file: join(root, "run.mjs"), code: 0, text: "" });
    expect(called.words).toEqual(["bench", ...words]);
    expect(existsSync(called.file)).toBe(true);
  });

  it("ends as the benchmark does", async () => {
    expect((await bench(3, "webgpu")).code).toBe(3);
  });

  it.each([[["abacus"]], [["--threads", "2"]], [["moe", "--samples", "0"]]])(
    "refuses %j",
    async (words) => {
      await expect(bench(0, ...words)).rejects.toThrow(CommanderError);
    },
  );
});

describe("outside the repository", () => {
  it("says where the benchmarks are", async () => {
    await withFolder(async (folder) => {
      expect(() => launcher(folder)).toThrow(UnsupportedError);
      expect(() => launcher(folder)).toThrow(/^[^\n]*repository[^\n]*npm run bench[^\n]*$/);
    });
  });

  it("takes no stranger's project, nor a broken one, for it", async () => {
    await withFolder(async (folder) => {
      const inner = join(folder, "node_modules", "moiety", "dist");
      await mkdir(inner, { recursive: true });
      await writeFile(join(folder, "package.json"), JSON.stringify({ name: "moiety" }));
      await writeFile(join(folder, "node_modules", "package.json"), "{");
      expect(workspaceAbove(inner)).toBeUndefined();
      await writeFile(join(folder, "package.json"), JSON.stringify({ name: "moiety-workspace" }));
      expect(workspaceAbove(inner)).toBe(folder);
    });
  });
});

import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { rewrite, testdata, withCopies } from "./goldens/testing/cases.ts";
import { program } from "./program.ts";

/** Runs the program as from a command line. */
async function run(...given: string[]): Promise<{ readonly text: string; readonly code: number }> {
  const lines: string[] = [];
  let code = 0;
  const command = await program(given, {
    line: (text) => void lines.push(text),
    write: () => {},
    exit: (given) => void (code = given),
  });
  for (const each of [command, ...command.commands]) {
    each.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  }
  await command.parseAsync(["node", "moiety", ...given]);
  return { text: lines.join("\n"), code };
}

describe("moiety goldens", () => {
  it("prints a table, writes JSON and exits with 0 when nothing failed", async () => {
    await withCopies(["mixtral/0", "mixtral/2", "loss_switch/80010"], async (folder) => {
      const file = join(folder, "result.json");
      const { text, code } = await run("goldens", folder, "--json", file);
      expect(code).toBe(0);
      expect(text.split("\n")).toEqual([
        "family       passed  failed  unsupported",
        "loss_switch       1       0            0",
        "mixtral           2       0            0",
        "total             3       0            0",
      ]);
      const json: unknown = JSON.parse(await readFile(file, "utf8"));
      expect(json).toMatchObject({ passed: 3, failed: 0, unsupported: 0 });
      const { cases } = json as { cases: object[] };
      expect(Object.keys(cases[1] ?? {})).toEqual([
        "family",
        "case",
        "status",
        "detail",
        "worst",
        "compared",
        "skipped",
      ]);
      expect(cases[1]).toMatchObject({
        family: "mixtral",
        case: "0",
        status: "passed",
        detail: "",
      });
    });
  });

  it("names what failed and exits with 1", async () => {
    await withCopies(["mixtral/0", "qwen3_moe/0-norm_topk_prob=False"], async (folder) => {
      await rewrite(join(folder, "mixtral/0/tensors.safetensors"), (bytes) =>
        bytes.subarray(0, 99),
      );
      const { text, code } = await run("goldens", folder, "--dtype", "f32", "--backend", "cpu");
      expect(code).toBe(1);
      expect(text).toMatch(/^failed: mixtral\/0: FormatError: .*cut short/);
      expect(text).toMatch(/total +1 +1 +0/);
    });
  });

  it("names what it does not know in one line and exits with 1", async () => {
    await withCopies(["mixtral/0", "loss_switch/80010"], async (folder) => {
      await rename(join(folder, "loss_switch"), join(folder, "loss_unheard_of"));
      const { text, code } = await run("goldens", folder);
      expect(code).toBe(1);
      expect(text.split("\n")[0]).toBe(
        "unsupported: the function loss_unheard_of is not known (1 case)",
      );
      expect(text).toMatch(/total +1 +0 +1/);
    });
  });

  it("tells how much of the budget a float32 run used", async () => {
    await withCopies(["mixtral/0", "mixtral/2"], async (folder) => {
      const file = join(folder, "result.json");
      const { code } = await run("goldens", folder, "--dtype", "f32", "--json", file);
      expect(code).toBe(0);
      const { cases } = JSON.parse(await readFile(file, "utf8")) as { cases: { detail: string }[] };
      for (const { detail } of cases) expect(detail).toMatch(/^at most 0\.\d+ of the budget \(/);
    });
  });

  it("refuses what it does not know", async () => {
    await expect(run("goldens", testdata, "--backend", "abacus")).rejects.toThrow(/abacus.*cpu/);
    await expect(run("goldens", testdata, "--dtype", "f16")).rejects.toThrow(CommanderError);
    await expect(run("goldens")).rejects.toThrow(CommanderError);
    await expect(run("golden", testdata)).rejects.toThrow(CommanderError);
    await withCopies(["loss_switch/80010"], async (folder) => {
      const file = join(folder, "none", "result.json");
      await expect(run("goldens", folder, "--json", file)).rejects.toThrow(ConfigError);
    });
  });
});

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError } from "@moiety/core";
import { CommanderError } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { conformCommand } from "./conform.ts";

const testdata = fileURLToPath(new URL("../conform/testdata/", import.meta.url));
const good = join(testdata, "backend.js");
const failing = join(testdata, "failing-backend.js");

interface Ran {
  readonly text: string;
  readonly code: number;
  readonly progress: string;
}

/** Runs the command as from a command line. */
async function run(...given: string[]): Promise<Ran> {
  const lines: string[] = [];
  const written: string[] = [];
  let code = 0;
  const command = conformCommand(
    {
      line: (text) => void lines.push(text),
      write: () => {},
      exit: (given) => void (code = given),
    },
    { status: { write: (text: string) => written.push(text) }, calledAs: undefined },
  );
  command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  await command.parseAsync(given, { from: "user" });
  return { text: lines.join("\n"), code, progress: written.join("") };
}

async function inFolder<R>(use: (folder: string) => Promise<R>): Promise<R> {
  const folder = await mkdtemp(join(tmpdir(), "moiety-conform-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const few = ["--case", "L0/scope/", "--case", "L0/unary/neg"];

describe("moiety conform", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("prints a summary and exits with 0 for a pass", async () => {
    const { text, code, progress } = await run("--backend", "cpu", ...few, "--seed", "7");
    expect(code).toBe(0);
    expect(text).toMatch(/^level +pass +fail +unsupported +coverage/);
    expect(text).toMatch(/^L0 +4 +0 +0 +100\.0 %/m);
    expect(text).toMatch(/^backend cpu \d+\.\d+\.\d+, profile inference, seed 7, /m);
    expect(text).toMatch(/^coverage 100\.0 % \(4 of 4 cases pass\)$/m);
    expect(text).toMatch(/^verdict: pass \(4 passed\)$/m);
    expect(progress).toMatch(
      /^1\/4 cases done\n2\/4 cases done\n3\/4 cases done\n4\/4 cases done\n$/,
    );
  });

  it("takes a module, and prints for each failure a line that runs exactly it again", async () => {
    const { text, code, progress } = await run("--backend", failing, ...few);
    expect(code).toBe(1);
    expect(progress).toMatch(/^fail: L0\/unary\/neg: neg x\d+\[0\] is /m);
    expect(text).toMatch(/^verdict: fail \(\d fail\)$/m);
    const again = /again: moiety conform (.*--case 'L0\/unary\/neg'.*)$/m.exec(text)?.[1] ?? "";
    const words = again.replaceAll("'", "").split(" ");
    const second = await run(...words);
    expect(second.code).toBe(1);
    expect(second.text).toMatch(/coverage 0\.0 % \(0 of 1 cases pass\)/);
    expect(second.text).toContain(again);
  });

  it("writes JSON, JUnit and a badge, beside and renamed", async () => {
    await inFolder(async (folder) => {
      const [json, junit, badge] = ["a.json", "b.xml", "c.md"].map((name) => join(folder, name));
      const files = ["--json", json ?? "", "--junit", junit ?? "", "--badge", badge ?? ""];
      const { code } = await run("--backend", good, "--profile", "full", ...few, ...files);
      expect(code).toBe(0);
      expect((await readdir(folder)).sort()).toEqual(["a.json", "b.xml", "c.md"]);
      const report: unknown = JSON.parse(await readFile(json ?? "", "utf8"));
      expect(report).toMatchObject({
        verdict: "pass",
        coverage: 1,
        profile: "full",
        counts: { pass: 4, fail: 0, unsupported: 0 },
        backend: { name: "cpu", manifest: { determinism: "bitwise" } },
        env: { runtime: `node ${process.versions.node}` },
      });
      expect(await readFile(junit ?? "", "utf8")).toMatch(/^<\?xml[^]*<testsuites [^]*tests="4"/);
      expect(await readFile(badge ?? "", "utf8")).toMatch(/\*\*pass\*\*, coverage 100\.0 %/);
    });
  });

  it("keeps expected failures apart, but does not call them a pass", async () => {
    await inFolder(async (folder) => {
      const file = join(folder, "xfail.json");
      const entry = { id: "L0/unary/neg", reason: "known", link: "https://example.com/1" };
      await writeFile(file, JSON.stringify([entry]));
      const given = ["--backend", failing, "--case", "L0/unary/neg", "--xfail", file];
      const { text, code } = await run(...given);
      expect(text).toMatch(/^verdict: partial \(1 failed as expected\)$/m);
      expect(code).toBe(1);
    });
  });

  it("lists cases without running any", async () => {
    const { text, code } = await run("--list", "--profile", "full", "--case", "L0/scope/");
    expect(code).toBe(0);
    expect(text.split("\n")).toHaveLength(3);
    expect(text).toMatch(/^L0\/scope\/frees {2}\[inference\] {2}a scope frees/);
  });

  it("has cases of the libraries' routers, banks and losses", async () => {
    const asked = ["--case", "L1/catalogue/mixtralRouter", "--case", "L4/catalogue/zLoss"];
    const { text } = await run("--list", ...asked);
    expect(text).toMatch(/^L1\/catalogue\/mixtralRouter {2}\[inference\] {2}tokens are routed by/);
    expect(text.split("\n")).toHaveLength(2);
    const { code, text: summary } = await run("--backend", good, ...asked);
    expect(summary).toMatch(/^verdict: pass \(2 passed\)$/m);
    expect(code).toBe(0);
  });

  it("says in one line why there is no backend, and fails where one was required", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "none.mjs");
      await writeFile(path, 'export default async () => { throw new Error("no adapter here"); };');
      vi.stubEnv("MOIETY_REQUIRE_WEBGPU", "");
      const { text, code } = await run("--backend", path, ...few);
      expect([code, text]).toEqual([
        1,
        expect.stringMatching(/^verdict: precondition: no backend: .*no adapter here.*$/),
      ]);
      vi.stubEnv("MOIETY_REQUIRE_WEBGPU", "1");
      const required = await run("--backend", path, ...few);
      expect(required.code).toBe(1);
      expect(required.text).toMatch(/^verdict: fail: no backend: .*no adapter here.*$/);
    });
  });
});

describe("moiety conform, given nonsense", () => {
  const modules: [string, string, RegExp][] = [
    [
      "no default export",
      "export const create = 1;",
      /no default export that is a function \(it exports create\)/,
    ],
    ["no exports", "", /it exports nothing/],
    [
      "a broken loseDevice",
      "export default () => {}; export const loseDevice = 1;",
      /loseDevice that is no function/,
    ],
    [
      "a create() without a result",
      "export default async () => {};",
      /gave undefined, not a backend/,
    ],
    [
      "a create() that gives a driver",
      "export default () => ({ run() {} });",
      /an object without tensor/,
    ],
    ["a syntax error", "export default function (", /cannot be loaded: /],
    ["an error of its own", "throw new Error('at\\nhome');", /cannot be loaded: Error: at$/],
  ];
  it.each(modules)("refuses a module with %s", async (_, source, message) => {
    await inFolder(async (folder) => {
      const path = join(folder, "module.mjs");
      await writeFile(path, source);
      const running = run("--backend", path, ...few);
      await expect(running).rejects.toThrow(ConfigError);
      await expect(running).rejects.toThrow(message);
      await expect(running).rejects.toThrow(/^[^\n]*$/);
    });
  });

  it("says that a backend comes from another copy of core", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "module.mjs");
      const methods = "tensor upload scope sync statistics record dispose".split(" ");
      const members = methods.map((name) => `${name}() {}`).join(", ");
      await writeFile(path, `export default async () => ({ name: "x", ${members} });`);
      await expect(run("--backend", path, ...few)).rejects.toThrow(/another copy of @moiety\/core/);
    });
  });

  it("refuses modules that are not there", async () => {
    await expect(run("--backend", "./none.js", ...few)).rejects.toThrow(
      /"\.\/none\.js" cannot be loaded/,
    );
    await expect(run("--backend", "abacus", ...few)).rejects.toThrow(
      /is none of webgpu, wasm, cpu, no/,
    );
  });

  it("finds packages that stand where it is run, those for import alone too", async () => {
    await inFolder(async (folder) => {
      const place = join(folder, "node_modules", "abacus");
      await mkdir(place, { recursive: true });
      const manifest = {
        name: "abacus",
        version: "3.2.1",
        exports: { ".": { import: "./beads.mjs" } },
      };
      await writeFile(join(place, "package.json"), JSON.stringify(manifest));
      await writeFile(join(place, "beads.mjs"), "export const nothing = 1;");
      const cwd = vi.spyOn(process, "cwd").mockReturnValue(folder);
      try {
        await expect(run("--backend", "abacus", ...few)).rejects.toThrow(/exports nothing\)/);
      } finally {
        cwd.mockRestore();
      }
    });
  });

  it("finds the package in a folder, by the folder's path", async () => {
    await inFolder(async (folder) => {
      await writeFile(join(folder, "package.json"), '{ "exports": "./beads.mjs" }');
      await writeFile(join(folder, "beads.mjs"), "export const nothing = 1;");
      await expect(run("--backend", folder, ...few)).rejects.toThrow(/exports nothing\)/);
      await expect(run("--backend", relative("", folder), ...few)).rejects.toThrow(
        /exports nothing\)/,
      );
      await writeFile(join(folder, "package.json"), '{ "main": "beads.mjs" }');
      await expect(run("--backend", folder, ...few)).rejects.toThrow(/exports nothing\)/);
    });
  });

  it("refuses a manifest that contradicts itself, in one line", async () => {
    const running = run("--backend", join(testdata, "wrong-backend.js"), ...few);
    await expect(running).rejects.toThrow(ConfigError);
    await expect(running).rejects.toThrow(
      /^the manifest of backend cpu contradicts itself: batchInvariant promises [^\n]*$/,
    );
  });

  it("refuses cases, seeds, profiles and options that there are not", async () => {
    await expect(run("--case", "L7/none")).rejects.toThrow(/no case "L7\/none"/);
    await expect(run("--list", "--case", "L7/none")).rejects.toThrow(ConfigError);
    await expect(run("--seed", "many", ...few)).rejects.toThrow(/seed is NaN/);
    await expect(run("--timeout", "0", ...few)).rejects.toThrow(/timeout is 0/);
    await expect(run("--profile", "most")).rejects.toThrow(CommanderError);
    await expect(run("--everything")).rejects.toThrow(CommanderError);
  });

  it("refuses files that cannot be written before it runs anything, and leaves none", async () => {
    await inFolder(async (folder) => {
      const none = join(folder, "none", "a.json");
      for (const option of ["--json", "--junit", "--badge"]) {
        await expect(run(...few, option, none)).rejects.toThrow(
          /cannot write .*a folder that can be/,
        );
      }
      await expect(run(...few, "--json", folder)).rejects.toThrow(/it is a folder/);
      const good = join(folder, "b.json");
      await expect(run(...few, "--json", good, "--junit", none)).rejects.toThrow(ConfigError);
      expect(await readdir(folder)).toEqual([]);
    });
  });

  const lists: [string, string, RegExp][] = [
    ["no JSON", "[{", /is no JSON \(/],
    ["no list", '{"id": "x"}', /is no JSON array/],
    ["an entry without a link", '[{"id": "x", "reason": "y"}]', /entry 0 must be/],
    ["an unknown case", '[{"id": "x", "reason": "y", "link": "z"}]', /xfail names case "x"/],
  ];
  it.each(lists)("refuses a list of expected failures with %s", async (_, text, message) => {
    await inFolder(async (folder) => {
      const path = join(folder, "xfail.json");
      await writeFile(path, text);
      await expect(run(...few, "--xfail", path)).rejects.toThrow(message);
    });
  });

  it("refuses a list of expected failures that is not there", async () => {
    await expect(run(...few, "--xfail", "/none/xfail.json")).rejects.toThrow(/cannot be read/);
  });
});

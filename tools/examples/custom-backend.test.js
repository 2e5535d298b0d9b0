import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PROFILES, allCases, conform, selectCases, summarize } from "@moiety/conformance";
import * as core from "@moiety/core";
import { describe, expect, it } from "vitest";
import { programs } from "../../bench/launch/programs.js";
import { conformCommand } from "../../packages/cli/src/commands/conform.ts";
import { findBackend } from "../../packages/cli/src/conform/backend-module.ts";

const folder = "examples/custom-backend";
const guide = read(`${folder}/README.md`);

const silent = { line() {}, write() {}, exit() {} };
const surroundings = { status: { write() {} }, calledAs: undefined };

describe("examples/custom-backend", () => {
  it(
    "passes the profile inference, found by the path of its folder",
    { timeout: 300_000 },
    async () => {
      const source = await findBackend(folder);
      expect(source.expected).toBe("oracle");
      const report = await conform({ ...source, profile: "inference" });
      expect(report.verdict, summarize(report)).toBe("pass");
      expect(report.backend.name).toBe("heap");
      expect(report.counts.pass).toBeGreaterThan(700);
      // What it does not claim, and nothing else, is left out.
      const reasons = report.cases.flatMap(({ status, reason }) =>
        status === "pass" ? [] : [reason],
      );
      const excuses = /^the manifest has no (f16|bf16|f64)$|^the manifest names no tileSizes$/;
      expect(reasons.filter((reason) => !excuses.test(reason))).toEqual([]);
    },
  );

  it("runs its fused ops as kernels, gradients too, and comes back after its heap is lost", async () => {
    const report = await conform({
      ...(await findBackend(folder)),
      profile: "full",
      cases: ["L0/device-loss/", "L4/device-loss/", "L1/softmax/", "L4/rms-norm/", "L4/fused/"],
    });
    expect(report.verdict, summarize(report)).toBe("pass");
    const fused = report.cases.filter(
      ({ id, status }) => id.includes("/fused/") && status === "pass",
    );
    expect(fused.length).toBeGreaterThan(0);
  });

  it("refuses a size of memory that makes no sense", async () => {
    const { default: create } = await import(
      new URL(`../../${folder}/index.js`, import.meta.url).href
    );
    for (const memoryBytes of [0, -1, Number.NaN, 2 ** 40]) {
      await expect(create({ memoryBytes })).rejects.toThrow(core.ConfigError);
    }
  });
});

describe("the guide of examples/custom-backend", () => {
  const commands = blocks("sh").flatMap((block) => block.trim().split("\n"));
  const conforming = commands.filter((line) =>
    /^npx moiety conform |^npm run conform -- /.test(line),
  );

  it("shows commands that there are", () => {
    const { scripts } = JSON.parse(read("package.json"));
    for (const line of commands) {
      const words = line.split(" ");
      const known =
        conforming.includes(line) ||
        /^npm (init -y|install |pkg set )/.test(line) ||
        (words[0] === "npm" && words[1] === "run" && Object.hasOwn(scripts, words[2] ?? ""));
      expect(known, line).toBe(true);
      if (words[2] === "bench") expect(programs).toHaveProperty(words[4] ?? "");
    }
    expect(conforming.length).toBeGreaterThan(8);
  });

  it.each(conforming)("%s", (line) => {
    const command = conformCommand(silent, surroundings).exitOverride();
    const words = line.replace(/^npx moiety conform |^npm run conform -- /, "").split(" ");
    command.parseOptions(words);
    const { profile, case: cases } = command.opts();
    expect(command.args).toEqual([]);
    expect(PROFILES).toContain(profile);
    expect(selectCases(allCases, profile, cases).length).toBeGreaterThan(0);
  });

  it("names options and cases in its text that there are", () => {
    const options = conformCommand(silent, surroundings).options.map(({ long }) => long);
    const own = [...guide.matchAll(/`(--[a-z]+)[^`]*`/g)].map(([, option]) => option);
    expect(own.filter((option) => !options.includes(option))).toEqual([]);
    for (const [, prefix = ""] of guide.matchAll(/--case '?(L\d[\w/-]*)'?/g)) {
      expect(selectCases(allCases, "full", [prefix]).length, prefix).toBeGreaterThan(0);
    }
  });

  it("lists every required op, and no other", async () => {
    const { allOps } = await import("@moiety/core/ops");
    const required = allOps.filter(({ identity }) => identity.kernel !== "optional");
    const table = guide.slice(
      guide.indexOf("## The required ops"),
      guide.indexOf("## What people"),
    );
    const rows = [...table.matchAll(/^\| ((?:`\w+`(?:, )?)+)/gm)];
    const listed = rows.flatMap(([, names = ""]) => names.match(/\w+/g) ?? []);
    expect(listed.sort()).toEqual(required.map(({ name }) => name).sort());
  });

  it("shows the functions of positions.js as they are", () => {
    const bare = (/** @type {string} */ code) =>
      code.replace(/\/\*\*[^]*?\*\/|\/\/.*|^export /gm, "").replace(/\s+/g, " ");
    const code = blocks("js").find((block) => block.includes("function positionsOf"));
    expect(bare(read(`${folder}/positions.js`))).toContain(bare(code ?? "missing").trim());
  });

  it.each(["as it is", "with its queue"])("shows a driver that works, %s", async (how) => {
    const { KERNELS: kernels } = await import(
      new URL(`../../${folder}/kernels.js`, import.meta.url).href
    );
    const driver = how === "as it is" ? shownDriver(kernels) : queueingDriver(kernels);
    const report = await conform({
      createBackend: async () => core.defineBackend(driver()),
      cases: [
        "L0/tensor/",
        "L0/upload/",
        "L0/read/",
        "L0/donation/",
        "L0/scope/",
        "L0/statistics/",
      ],
    });
    expect(report.verdict, summarize(report)).toBe("pass");
  });
});

/** The code of the guide's driver, without what stands around it in a module. */
function driverCode() {
  const code = blocks("js").find((block) => block.includes("class MyDriver"));
  if (code === undefined) throw new Error("the guide shows no driver");
  return code
    .replace(/import \{([^}]*)\} from "@moiety\/core";/, "const {$1} = core;")
    .replace('import { kernels } from "./kernels.js";', "")
    .replace(/export default [^]*$/, "");
}

/** @param {object} kernels */
function shownDriver(kernels) {
  return evaluate(`${driverCode()} return () => new MyDriver();`, kernels);
}

/** @param {object} kernels */
function queueingDriver(kernels) {
  const members = blocks("js").find((block) => block.includes("#enqueue(work)"));
  if (members === undefined) throw new Error("the guide shows no queue");
  return evaluate(
    `${driverCode()} return () => new (class extends MyDriver {${members}})();`,
    kernels,
  );
}

/**
 * @param {string} code
 * @param {object} kernels
 * @returns {() => core.Driver<ArrayBuffer>}
 */
function evaluate(code, kernels) {
  // oxlint-disable-next-line no-implied-eval -- code of our own, out of the page that is tested
  return new Function("core", "kernels", code)(core, kernels);
}

/** @param {string} language */
function blocks(language) {
  return [...guide.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "gm"))].map(
    ([, text = ""]) => text,
  );
}

/** @param {string} path */
function read(path) {
  return readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
}

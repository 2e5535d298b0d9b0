import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchEnvironment } from "./launch.js";
import { browser, cacheFolder, driverChoice, softwareEnvironment } from "./software.js";

const packaged = process.platform === "linux" && process.arch === "x64";

/** @type {string} */
let folder;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "drivers-"));
  writeFileSync(join(folder, "some_icd.json"), "{}");
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("launchEnvironment", () => {
  it.each([
    ["test", [], "software"],
    ["start", [], "system"],
    ["start", ["--backend", "cpu"], "system"],
    ["start", ["--backend", "webgpu"], "software"],
    ["start", ["--backend=webgpu"], "software"],
    ["goldens", ["--backend", "auto"], "software"],
    ["goldens", ["folder/automatic", "--backend=auto"], "software"],
    ["goldens", ["folder/automatic"], "system"],
    ["conform", ["--backend", "@moiety/backend-webgpu"], "software"],
    ["bench", ["webgpu"], "software"],
    ["bench", [], "system"],
  ])("on a machine without a driver, %s %j runs on the %s's", async (task, rest, choice) => {
    const machine = { environment: {}, folders: [join(folder, "none")] };
    expect(await launchEnvironment(task, rest, machine)).toEqual({
      MOIETY_WEBGPU: choice,
      ...(choice === "software" ? await softwareEnvironment({}) : {}),
    });
  });

  it.each([
    ["a driver in its folder", {}, "driver"],
    ["VK_DRIVER_FILES", { VK_DRIVER_FILES: "/one.json" }, "none"],
    ["VK_ICD_FILENAMES", { VK_ICD_FILENAMES: "/one.json" }, "none"],
  ])("leaves a machine with %s to it, except for tests", async (_, environment, drivers) => {
    const machine = {
      environment,
      folders: drivers === "driver" ? [folder] : [join(folder, "none")],
    };
    const started = await launchEnvironment("start", ["--backend", "webgpu"], machine);
    expect(started).toEqual({ MOIETY_WEBGPU: "system" });
    const tested = await launchEnvironment("test", [], machine);
    expect(tested["MOIETY_WEBGPU"]).toBe("software");
  });

  it.each(["software", "system"])("obeys MOIETY_WEBGPU=%s", async (choice) => {
    const machine = { environment: { MOIETY_WEBGPU: choice }, folders: [folder] };
    for (const task of ["test", "start"]) {
      const added = await launchEnvironment(task, ["--backend", "webgpu"], machine);
      expect(added["MOIETY_WEBGPU"]).toBe(choice);
      expect("VK_DRIVER_FILES" in added).toBe(packaged && choice === "software");
    }
  });

  it("refuses another choice", async () => {
    expect(() => driverChoice({ MOIETY_WEBGPU: "hardware" })).toThrow(
      `MOIETY_WEBGPU must be "software" or "system", not "hardware"`,
    );
  });
});

describe.skipIf(!packaged)("softwareEnvironment", () => {
  it("puts its folder before others, once", async () => {
    const own = join(cacheFolder(), "swiftshader");
    const paths = async (/** @type {string} */ given) =>
      (await softwareEnvironment({ LD_LIBRARY_PATH: given }))?.LD_LIBRARY_PATH;
    expect(await paths("")).toBe(own);
    expect(await paths("/a:/b")).toBe(`${own}:/a:/b`);
    expect(await paths(`/a:${own}`)).toBe(`${own}:/a`);
  });

  it("keeps the user's XDG_RUNTIME_DIR", async () => {
    const added = await softwareEnvironment({ XDG_RUNTIME_DIR: "/run/user/1" });
    expect(added?.XDG_RUNTIME_DIR).toBe("/run/user/1");
  });
});

describe("browser", () => {
  it("is the one that the environment names, in its own environment", async () => {
    const environment = { MOIETY_CHROMIUM: "/opt/chromium", VK_DRIVER_FILES: "/one.json" };
    expect(await browser(environment)).toEqual({
      executable: "/opt/chromium",
      packaged: false,
      environment,
    });
  });
});

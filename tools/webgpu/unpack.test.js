import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unpackOnce } from "./unpack.js";

/** @type {string} */
let base;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "unpack-"));
});
afterEach(() => rm(base, { recursive: true }));

/** @param {string} text */
const filledWith = (text) => (/** @type {string} */ folder) => writeFile(join(folder, "one"), text);

describe("unpackOnce", () => {
  it("fills a folder once, readable by all", async () => {
    const folder = join(base, "deep/there");
    await unpackOnce(folder, filledWith("first"));
    await unpackOnce(folder, filledWith("second"));
    expect(readFileSync(join(folder, "one"), "utf8")).toBe("first");
    expect(statSync(folder).mode & 0o777).toBe(0o755);
    expect(readdirSync(join(base, "deep"))).toEqual(["there"]);
  });

  it("leaves nothing when it fails, and succeeds the next time", async () => {
    const folder = join(base, "there");
    const failing = unpackOnce(folder, async (unfinished) => {
      await filledWith("half")(unfinished);
      throw new Error("no space left");
    });
    await expect(failing).rejects.toThrow("no space left");
    expect(readdirSync(base)).toEqual([]);
    await unpackOnce(folder, filledWith("whole"));
    expect(readFileSync(join(folder, "one"), "utf8")).toBe("whole");
  });

  it("lets many run at once, of which one wins", async () => {
    const folder = join(base, "there");
    const texts = ["a", "b", "c", "d"];
    await Promise.all(texts.map((text) => unpackOnce(folder, filledWith(text))));
    expect(texts).toContain(readFileSync(join(folder, "one"), "utf8"));
    expect(readdirSync(base)).toEqual(["there"]);
  });

  it("is not deceived by a run that was killed", async () => {
    const folder = join(base, "there");
    const module = new URL("unpack.js", import.meta.url).href;
    const program = `import { unpackOnce } from ${JSON.stringify(module)};
      await unpackOnce(${JSON.stringify(folder)}, () => {
        console.log("filling");
        return new Promise(() => setInterval(() => {}, 1000));
      });`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "close");
    expect(existsSync(folder)).toBe(false);
    expect(readdirSync(base)).toHaveLength(1);
    await unpackOnce(folder, filledWith("whole"));
    expect(readFileSync(join(folder, "one"), "utf8")).toBe("whole");
  });

  it("sweeps what was abandoned long ago, and nothing else", async () => {
    const long = new Date(Date.now() - 2 * 60 * 60 * 1000);
    for (const name of ["there.unfinished-old", "there.unfinished-new", "another"]) {
      mkdirSync(join(base, name));
      if (name !== "there.unfinished-new") utimesSync(join(base, name), long, long);
    }
    await unpackOnce(join(base, "there"), filledWith("whole"));
    expect(readdirSync(base).sort()).toEqual(["another", "there", "there.unfinished-new"]);
  });
});

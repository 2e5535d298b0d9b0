import { ConfigError } from "@moiety/core";
import { controllerCatalogue, lossCatalogue } from "@moiety/losses";
import { routerCatalogue } from "@moiety/routers";
import { describe, expect, it } from "vitest";
import { catalogueText } from "./catalogue-text.ts";
import { parseOptions } from "./options.ts";

function parse(line: string): unknown {
  return parseOptions(line.split(" ").filter(Boolean), () => {
    throw new Error("nothing is to be written");
  });
}

describe("parseOptions", () => {
  it("leaves out what was not given", () => {
    expect(parse("")).toEqual({});
  });

  it("reads every option", () => {
    expect(
      parse(
        "--preset anchor --minutes 0.5 --steps 40 --stop-after 20 --backend wasm --threads 2 --out /a/b " +
          "--seed 7 --experts 16 --top-k 4 --router cosineRouter --balance bias --text /x.txt /y.txt --resume /r",
      ),
    ).toEqual({
      preset: "anchor",
      minutes: 0.5,
      steps: 40,
      stopAfter: 20,
      backend: "wasm",
      threads: 2,
      out: "/a/b",
      seed: 7,
      experts: 16,
      topK: 4,
      router: "cosineRouter",
      balance: "bias",
      text: ["/x.txt", "/y.txt"],
      resume: "/r",
    });
  });

  it("makes paths absolute", () => {
    expect(parse("--out some/folder --text a b")).toEqual({
      out: `${process.cwd()}/some/folder`,
      text: [`${process.cwd()}/a`, `${process.cwd()}/b`],
    });
  });

  it("writes help with examples, and gives no options", () => {
    let written = "";
    expect(parseOptions(["--help"], (text) => (written += text))).toBeNull();
    for (const flag of [
      "--minutes",
      "--steps",
      "--stop-after",
      "--backend",
      "--threads",
      "--out",
      "--seed",
      "--experts",
      "--top-k",
      "--router",
      "--balance",
      "--list",
      "--text",
      "--resume",
      "--preset",
      "--help",
    ]) {
      expect(written).toContain(flag);
    }
    expect(written).toContain("npm start -- --resume runs/a");
    for (const { name } of [...routerCatalogue, ...lossCatalogue, ...controllerCatalogue]) {
      expect(written).toContain(name);
    }
  });

  it("lists the catalogue, and gives no options", () => {
    let written = "";
    expect(parseOptions(["--list", "--seed", "3"], (text) => (written += text))).toBeNull();
    expect(written).toBe(catalogueText());
  });

  it.each([
    ["--step 4", /unknown option '--step'.*--steps/],
    ["--bogus", /unknown option '--bogus'.*--help/],
    ["extra words", /too many arguments|expected 0 arguments/i],
    ["--steps", /argument missing/],
    ["--text", /argument missing/],
    ["--steps 0", /--steps 0 is not a whole number from 1/],
    ["--steps 1.5", /--steps 1.5 is not a whole number/],
    ["--steps ten", /--steps ten is not a whole number/],
    ["--steps 1e3", /--steps 1e3 is not a whole number/],
    ["--stop-after -3", /--stop-after -3 is not a whole number/],
    ["--seed -1", /--seed -1 is not a whole number from 0 to 4294967295/],
    ["--seed 4294967296", /--seed 4294967296/],
    ["--minutes 0", /--minutes 0 is not a number above 0/],
    ["--minutes Infinity", /--minutes Infinity/],
    ["--minutes abc", /--minutes abc/],
    ["--experts 0", /--experts 0/],
    ["--top-k 0", /--top-k 0/],
    ["--balance even", /--balance even is unknown: there are switch, bias, none/],
    ["--router", /argument missing/],
    ["--router best", /--router best is unknown: there are mixtralRouter, /],
    ["--router toString", /--router toString is unknown/],
    ["--list all", /too many arguments|expected 0 arguments/i],
    ["--preset huge", /--preset huge is unknown: there are anchor, small/],
    ["--preset toString", /--preset toString is unknown/],
    ["--threads 0", /--threads 0 is not a whole number from 1 to 64/],
    ["--backend gpu", /--backend gpu is unknown: there are auto, webgpu, wasm, cpu/],
  ])("refuses %s on one line", (line, message) => {
    expect(() => parse(line)).toThrow(ConfigError);
    expect(() => parse(line)).toThrow(message);
    expect(() => parse(line)).toThrow(/^[^\n]*$/);
  });

  it("refuses an empty path", () => {
    expect(() => parseOptions(["--out", ""], () => {})).toThrow(/--out "" is no path/);
  });
});

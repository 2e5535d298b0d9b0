import { create } from "@moiety/backend-cpu";
import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ConformanceCase } from "./case.ts";
import { conform } from "./conform.ts";
import type { ConformOptions } from "./options.ts";
import type { Report } from "./report.ts";
import { fakeCase } from "./testing/fake-cases.ts";

const passes = fakeCase("passes", () => {});

function run(
  catalogue: readonly ConformanceCase[],
  more: Partial<ConformOptions> = {},
): Promise<Report> {
  return conform({ createBackend: () => create(), profile: "full", catalogue, ...more });
}

describe("bad input", () => {
  const options: [string, Partial<ConformOptions>, RegExp][] = [
    ["a case that there is not", { cases: ["L9/none"] }, /no case "L9\/none"/],
    ["an unknown profile", { profile: "most" as "full" }, /no profile "most"/],
    ["a broken seed", { seed: -1 }, /seed is -1/],
    ["a broken timeout", { timeout: 0 }, /timeout is 0/],
    [
      "an xfail of a case that there is not",
      { xfail: [{ id: "L0/none", reason: "x", link: "y" }] },
      /xfail names case "L0\/none"/,
    ],
    [
      "an xfail without a reason",
      { xfail: [{ id: passes.id, reason: " ", link: "y" }] },
      /has no reason/,
    ],
    [
      "an xfail without a link",
      { xfail: [{ id: passes.id, reason: "x", link: "" }] },
      /has no link/,
    ],
  ];
  it.each(options)("refuses %s", async (_, more, message) => {
    const running = run([passes], more);
    await expect(running).rejects.toThrow(ConfigError);
    await expect(running).rejects.toThrow(message);
  });

  it("says in which profile a case is", async () => {
    const extra = fakeCase("extra", () => {}, { extension: "deterministic" });
    const grad = fakeCase("grad", () => {}, { extension: "grad" });
    const cases = [passes, extra, grad];
    const running = run(cases, { profile: "inference", cases: [extra.id] });
    await expect(running).rejects.toThrow(/not in profile inference, but in full/);
    const ids = async (profile: "inference" | "training" | "full"): Promise<string[]> =>
      (await run(cases, { profile })).cases.map(({ id }) => id);
    expect(await ids("inference")).toEqual([passes.id]);
    expect(await ids("training")).toEqual([passes.id, grad.id]);
    expect(await ids("full")).toEqual(cases.map(({ id }) => id));
  });

  const values: [string, unknown, RegExp][] = [
    ["nothing", undefined, /gave undefined, not a backend/],
    ["a driver", { specVersion: 1, run() {}, allocate() {} }, /without tensor, upload/],
    ["an imitation", { ...imitation() }, /another copy of @moiety\/core/],
  ];
  it.each(values)("refuses %s in place of a backend", async (_, value, message) => {
    const running = run([passes], { createBackend: async () => value as never });
    await expect(running).rejects.toThrow(ConfigError);
    await expect(running).rejects.toThrow(message);
  });
});

/** What a backend of another copy of core looks like. */
function imitation(): object {
  const nothing = (): void => {};
  return {
    specVersion: 1,
    name: "other",
    capabilities: {},
    tensor: nothing,
    upload: nothing,
    scope: nothing,
    sync: nothing,
    statistics: nothing,
    record: nothing,
    dispose: nothing,
  };
}

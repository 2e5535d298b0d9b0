import { describe, expect, it } from "vitest";
import type { Options } from "./options.ts";
import { passedOn, threadCounts } from "./processes.ts";

/** Options as if they were given. */
function optionsOf(given: Readonly<Record<string, string | true>>): Options {
  return {
    text: (name) => (typeof given[name] === "string" ? given[name] : undefined),
    has: (name) => given[name] === true,
    numbers: (name, otherwise) =>
      typeof given[name] === "string" ? given[name].split(",").map(Number) : otherwise,
    number: () => Number.NaN,
  };
}

describe("passedOn", () => {
  it("are the options that were given, of those that are named", () => {
    const options = optionsOf({ samples: "3", json: "rows.json", short: true, "no-peers": true });
    const names = { values: ["tokens", "samples"], switches: ["no-peers"] };
    expect(passedOn(options, names)).toEqual(["--samples", "3", "--no-peers"]);
  });
});

describe("threadCounts", () => {
  it("are those given, and without any different ones down to one", () => {
    expect(threadCounts(optionsOf({ threads: "4,2" }))).toEqual([4, 2]);
    const usual = threadCounts(optionsOf({}));
    expect(usual.at(-1)).toBe(1);
    expect(usual).toEqual([...new Set(usual)]);
  });
});

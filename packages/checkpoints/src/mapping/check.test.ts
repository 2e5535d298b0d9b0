import { FormatError, type Shape } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { bindRules } from "./bind.ts";
import { CheckpointMismatchError, checkTensors, requireMatch } from "./check.ts";

const bindings = bindRules(
  [
    { path: "embed", names: ["model.embed"] },
    { path: "experts", names: ["model.e.{expert}.gate", "model.e.{expert}.up"] },
    { path: "bias", names: ["model.b1", "model.b2"], optional: true },
  ],
  { expert: 2 },
  new Map([
    ["embed", [8, 4]],
    ["experts", [2, 6, 4]],
    ["bias", [2]],
  ]),
);

const WHOLE: Record<string, Shape> = {
  "model.embed": [8, 4],
  "model.e.0.gate": [3, 4],
  "model.e.0.up": [3, 4],
  "model.e.1.gate": [3, 4],
  "model.e.1.up": [3, 4],
};

const check = (
  shapes: Record<string, Shape>,
  ignore?: readonly string[],
): ReturnType<typeof checkTensors> => {
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
  return checkTensors(bindings, tensors, ignore);
};

describe("checkTensors", () => {
  it("finds nothing wrong with a checkpoint that fits", () => {
    const report = check(WHOLE);
    expect(report).toEqual({ missing: [], unexpected: [], misshaped: [], absent: ["bias"] });
    expect(() => requireMatch(report, "model")).not.toThrow();
    expect(check({ ...WHOLE, "model.b1": [1], "model.b2": [1] }).absent).toEqual([]);
  });

  it("lists what is missing, unexpected and misshaped", () => {
    const { "model.e.1.up": _, ...rest } = WHOLE;
    const report = check({ ...rest, "model.embed": [4, 8], lm_head: [8, 4] });
    expect(report).toEqual({
      missing: [{ name: "model.e.1.up", path: "experts" }],
      unexpected: ["lm_head"],
      misshaped: [{ name: "model.embed", path: "embed", expected: [8, 4], found: [4, 8] }],
      absent: ["bias"],
    });
    expect(() => requireMatch(report, "runs/model")).toThrow(CheckpointMismatchError);
    expect(() => requireMatch(report, "runs/model")).toThrow(FormatError);
    expect(() => requireMatch(report, "runs/model")).toThrow(
      "runs/model does not hold the tensors that its configuration needs; " +
        "missing: model.e.1.up; unexpected: lm_head; " +
        "misshaped: model.embed is [4, 8] where [8, 4] is needed; " +
        "check that configuration and weights belong together",
    );
  });

  it("counts half of an optional path as missing", () => {
    const report = check({ ...WHOLE, "model.b1": [1] });
    expect(report.missing).toEqual([{ name: "model.b2", path: "bias" }]);
    expect(report.absent).toEqual([]);
  });

  it("ignores what it is told to, and only that", () => {
    const extra = { "l.0.inv_freq": [2], "l.12.inv_freq": [2], "l.x.inv_freq": [2], lxinv: [1] };
    const { unexpected } = check({ ...WHOLE, ...extra }, ["l.{layer}.inv_freq", "l.inv"]);
    expect(unexpected).toEqual(["l.x.inv_freq", "lxinv"]);
    const layers = { "l.2.norm": [2], "l.2.e.0.up": [2], "l.20.norm": [2], "x.l.2.norm": [2] };
    const behind = check({ ...WHOLE, ...layers }, ["l.2.{rest}"]).unexpected;
    expect(behind).toEqual(["l.20.norm", "x.l.2.norm"]);
  });
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refuseOtherSettings } from "./resumed-settings.ts";
import { newSettings } from "./settings.ts";
import { readSettings, writeSettings } from "./settings-file.ts";
import type { TrainOptions } from "./options.ts";
import { syntheticSettings } from "./testing/synthetic-run.ts";

describe("newSettings", () => {
  it("takes the anchor's 1200 steps by default, and three small minutes on the reference", () => {
    const common = { seed: 1, router: "mixtralRouter", balance: "switch" };
    const anchor = { preset: "anchor", minutes: null, steps: 1200 };
    const small = { preset: "small", minutes: 3, steps: null };
    expect(newSettings({})).toMatchObject({ ...common, ...anchor, backend: "auto" });
    for (const backend of ["auto", "wasm", "webgpu"]) {
      expect(newSettings({ backend })).toMatchObject({ ...anchor, backend });
    }
    expect(newSettings({ backend: "cpu" })).toMatchObject({ ...small, backend: "cpu" });
    expect(newSettings({ backend: "cpu", preset: "anchor" })).toMatchObject(anchor);
    expect(newSettings({ backend: "wasm", preset: "small" })).toMatchObject(small);
  });

  it("is measured by what was given", () => {
    const small = { preset: "small", steps: 40 } as const;
    expect(newSettings(small)).toMatchObject({ minutes: null, steps: 40 });
    expect(newSettings({ preset: "anchor", minutes: 2 })).toMatchObject({
      minutes: 2,
      steps: null,
    });
  });

  it("has the anchor's hyper-parameters", () => {
    expect(newSettings({ preset: "anchor" })).toMatchObject({
      model: {
        vocabSize: 256,
        hiddenSize: 96,
        numHiddenLayers: 3,
        numAttentionHeads: 4,
        numKeyValueHeads: 4,
        intermediateSize: 128,
        numExperts: 16,
        numExpertsPerTok: 2,
        normTopkProb: true,
        rmsNormEps: 1e-5,
        ropeTheta: 10_000,
        tieWordEmbeddings: true,
        initializerRange: 0.02,
        routerAuxLossCoef: 0.01,
      },
      training: {
        batchSize: 16,
        sequenceLength: 128,
        peakLearningRate: 3e-3,
        warmupSteps: 20,
        finalLearningRate: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay: 0.1,
        clipNorm: 1,
      },
    });
  });

  it("refuses steps with minutes", () => {
    expect(() => newSettings({ steps: 4, minutes: 1 })).toThrow(/give one of them/);
  });

  it("refuses more experts for a token than there are, and says whence they come", () => {
    const small = { preset: "small" } as const;
    expect(() => newSettings({ ...small, topK: 9 })).toThrow(ConfigError);
    expect(() => newSettings({ ...small, topK: 9 })).toThrow(
      /--top-k 9 is above --experts 8 of preset small: give a --top-k of at most 8/,
    );
    expect(() => newSettings({ ...small, experts: 1 })).toThrow(
      /--top-k 2 of preset small is above --experts 1:/,
    );
    expect(newSettings({ experts: 4, topK: 4 }).model).toMatchObject({
      numExperts: 4,
      numExpertsPerTok: 4,
    });
  });
});

describe("router and balance", () => {
  it("balances a router by what suits it, or as asked", () => {
    expect(newSettings({ router: "cosineRouter" }).balance).toBe("switch");
    expect(newSettings({ router: "deepseekV3Router" }).balance).toBe("bias");
    expect(newSettings({ router: "expertChoiceRouter" }).balance).toBe("none");
    expect(newSettings({ router: "deepseekV3Router", balance: "none" }).balance).toBe("none");
  });

  it("takes a router's own k", () => {
    expect(newSettings({ router: "switchRouter" }).model.numExpertsPerTok).toBe(1);
    expect(newSettings({ router: "gshardRouter", topK: 2 }).model.numExpertsPerTok).toBe(2);
  });

  it("says in OLMoE's own keys what these can say", () => {
    expect(newSettings({ router: "mixtralRouter" }).model.normTopkProb).toBe(true);
    expect(newSettings({ router: "qwenMoeRouter" }).model.normTopkProb).toBe(false);
  });

  it.each<[TrainOptions, RegExp]>([
    [{ router: "softRouter" }, /--router softRouter does not train here: .*later tokens/],
    [{ router: "zayaRouter" }, /--router zayaRouter does not train here: .*no networks/],
    [{ router: "hashRouter" }, /--router hashRouter does not train here: .*third model/],
    [{ router: "switchRouter", topK: 2 }, /--top-k 2 does not fit --router switchRouter/],
    [{ router: "gshardRouter", experts: 1 }, /--top-k 2 of gshardRouter is above --experts 1:/],
    [{ balance: "reluSparsity" }, /--balance reluSparsity .*reluRouter brings it along/],
    [{ balance: "dogeBalance" }, /--balance dogeBalance .*dogeRouter/],
    [{ balance: "deepseekDeviceBalance" }, /several devices/],
    [{ router: "sinkhornRouter", balance: "switch" }, /of sinkhornRouter, training assigns/],
    [{ router: "deepseekV4HashRouter", balance: "bias" }, /choices are fixed/],
  ])("refuses %j with the reason", (options, message) => {
    expect(() => newSettings(options)).toThrow(ConfigError);
    expect(() => newSettings(options)).toThrow(message);
  });
});

describe("refuseOtherSettings", () => {
  const settings = { ...syntheticSettings("switch", 40), text: ["/a.txt"] };

  it("lets a resumed run repeat what it has", () => {
    const same = { seed: 1, steps: 40, text: ["/a.txt"], out: "/r", stopAfter: 3, topK: 2 };
    for (const backend of ["cpu", "auto"]) {
      const options = { ...same, backend, threads: 2 };
      expect(() => refuseOtherSettings(options, settings, "/r")).not.toThrow();
    }
  });

  it.each([
    [{ seed: 2 }, /--seed 2 does not fit the run in \/r, which has 1/],
    [{ steps: 41 }, /--steps 41/],
    [{ minutes: 1 }, /--minutes 1 .* which has none/],
    [{ router: "cosineRouter" }, /--router cosineRouter .* which has mixtralRouter/],
    [{ balance: "none" }, /--balance none/],
    [{ backend: "wasm" }, /--backend wasm .* which has cpu/],
    [{ experts: 16 }, /--experts 16/],
    [{ text: ["/b.txt"] }, /--text \/b\.txt/],
    [{ out: "/other" }, /--out \/other/],
  ])("refuses %j", (options, message) => {
    expect(() => refuseOtherSettings(options, settings, "/r")).toThrow(message);
  });
});

describe("the settings' file", () => {
  let folder = "";

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "lab-settings-"));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it("gives back what was written and leaves nothing beside", () => {
    const settings = { ...syntheticSettings("bias", null), text: ["/ä.txt"], minutes: 0.5 };
    const path = join(folder, "run.json");
    writeSettings(path, syntheticSettings("none", 3));
    writeSettings(path, settings);
    expect(readSettings(path)).toEqual(settings);
    expect(readdirSync(folder)).toEqual(["run.json"]);
  });

  it.each([
    ["half a file", (text: string) => text.slice(0, 90), /it is not JSON/],
    ["a list", () => "[]", /it is not an object/],
    ["another version", (text: string) => text.replace('Version": 3', 'Version": 1'), /Version 1/],
    ["a missing key", (text: string) => text.replace('"seed"', '"sead"'), /seed is missing/],
    [
      "a wrong kind",
      (text: string) => text.replace(/"numExperts": 8/, '"numExperts": "8"'),
      /model\.numExperts is not a number/,
    ],
    [
      "an unknown balance",
      (text: string) => text.replace('"switch"', '"even"'),
      /balance is unknown/,
    ],
    [
      "an unknown router",
      (text: string) => text.replace('"mixtralRouter"', '"toString"'),
      /router is unknown/,
    ],
  ])("refuses %s", (_, damage, message) => {
    const path = join(folder, "run.json");
    writeSettings(path, syntheticSettings("switch", 3));
    writeFileSync(path, damage(readFileSync(path, "utf8")));
    expect(() => readSettings(path)).toThrow(FormatError);
    expect(() => readSettings(path)).toThrow(message);
  });
});

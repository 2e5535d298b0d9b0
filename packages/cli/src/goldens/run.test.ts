import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import createCpu from "@moiety/backend-cpu";
import { type Backend, ConfigError } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { families } from "@moiety/models";
import { functions } from "./functions/index.ts";
import { handlerOf } from "./handlers.ts";
import type { Precision } from "./budget.ts";
import type { GoldenCase, Recorded } from "./case.ts";
import type { Verdict } from "./ledger.ts";
import { type CaseResult, type GoldenReport, runGoldens } from "./run.ts";
import {
  nudge,
  recordedCase,
  renameTensor,
  reverseShape,
  rewrite,
  testdata,
  withChange,
  withCopies,
} from "./testing/cases.ts";

/** Families and functions of which the source itself decides some things by chance. */
const arbitrary = new Set([
  "base_assignment",
  "deepspeed_gating",
  "megatron_dropping",
  "megatron_sinkhorn",
]);

/** Families of which nothing was recorded: their source or paper was read. */
const unrecorded = [
  "cohere2_moe",
  "deepseek_v32",
  "glam",
  "glm4_moe_lite",
  "glm4v_moe",
  "glm5_next",
  "glm_moe_dsa",
  "granitemoehybrid",
  "grok-1",
  "gshard",
  "hy_v3",
  "hy_v4",
  "inkling_mm_model",
  "kimi_k2",
  "kimi_k25",
  "kimi_linear",
  "mimo_v2_flash",
  "minimax_m3_vl",
  "mistral4",
  "qwen3_5_moe",
  "qwen3_next",
  "solar_open",
  "step3_text",
  "step3p7",
  "zaya",
];

describe("the runner of truth cases", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createCpu();
  });
  afterAll(() => backend.dispose());

  const verdictOf = async (golden: GoldenCase): Promise<Verdict> => {
    const choice = handlerOf(golden);
    if ("unsupported" in choice) throw new Error(choice.unsupported);
    return choice.run(golden, { backend, precision: "f64" });
  };

  const reports = new Map<Precision, Promise<GoldenReport>>();
  const reportOf = (precision: Precision): Promise<GoldenReport> => {
    const report = reports.get(precision) ?? runGoldens(testdata, { backend, precision });
    reports.set(precision, report);
    return report;
  };

  it.each(["f64", "f32"] as const)("passes every case in %s", { timeout: 180_000 }, async (p) => {
    const report = await reportOf(p);
    expect(report.cases.filter(({ status }) => status !== "passed")).toEqual([]);
    expect(report).toMatchObject({ passed: 79, failed: 0, unsupported: 0 });
    for (const { family, worst, compared, detail } of report.cases) {
      expect(compared.length, family).toBeGreaterThan(0);
      if (worst !== null) expect(worst.error, family).toBeLessThanOrEqual(1);
      // Where the source is arbitrary, a rule is held instead of every number, and the result says so.
      if (arbitrary.has(family)) continue;
      expect(worst, family).not.toBeNull();
      expect(detail, family).toMatch(p === "f64" ? /^$/ : /of the budget \(/);
    }
    expect(backend.statistics().liveBuffers).toBe(0);
  });

  it("has a case of every family and function that is recorded", async () => {
    const folders = await readdir(testdata, { withFileTypes: true });
    const found = folders.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(found.filter((name) => Object.hasOwn(functions, name)).sort()).toEqual(
      Object.keys(functions).sort(),
    );
    const recorded = new Set(found.map((name) => name.replace(/-v5$/, "")));
    expect(Object.keys(families).filter((name) => !recorded.has(name))).toEqual(unrecorded);
  });

  it("skips nothing but inputs, weights, masks and float32 runs", async () => {
    const { cases } = await reportOf("f64");
    const skipped = new Set(
      cases.flatMap((one) => one.skipped.map((name) => name.replace(/^(weights|f32)\..*/, "$1"))),
    );
    expect([...skipped].sort()).toEqual([
      "attention_mask",
      "expert_bias",
      "expert_indices",
      "f32",
      "input_ids",
      "logits",
      "logits.0",
      "logits.1",
      "logits.2",
      "logits.f32",
      "prompt_ids",
      "router_logits.f32.0",
      "router_logits.f32.1",
      "scores",
      "upstream",
      "upstream_combine",
      "upstream_combine_weights",
      "upstream_probs",
      "upstream_scores",
      "weights",
      "x",
    ]);
  });

  describe.each([
    "mixtral/0",
    "qwen2_moe/0-norm_topk_prob=False",
    "qwen3_moe/0-norm_topk_prob=False",
    "olmoe/0-norm_topk_prob=False",
    "deepseek_v3/4-norm=True_groups=4x2_bigbias",
    "switch_transformers/1-capacity=2",
    "ernie4_5_moe/0-shared=0_bias=False",
    "llama4/0",
    "loss_load_balancing/80001-mixtral-mask",
    "loss_load_balancing/80008-dbrx-mask",
    "loss_switch/80011",
    "model-qwen2_moe/0",
  ])("of %s", (path) => {
    it("fails when one number of any compared tensor is off by a millionth", async () => {
      const golden = await recordedCase(path);
      const { compared } = await verdictOf(golden);
      const largest = largestOf([...golden.tensors.values()], compared);
      expect(compared.length).toBeGreaterThan(2);
      for (const name of compared) {
        const verdict = await verdictOf(withChange(golden, name, nudge(largest)));
        expect(verdict.passed, name).toBe(false);
        expect(verdict.failures.join("; ")).toContain(name);
      }
    });
  });

  it("fails NaN and swapped experts", async () => {
    const golden = await recordedCase("olmoe/2-norm_topk_prob=False");
    const broken = withChange(golden, "output", (values) => {
      values[3] = Number.NaN;
    });
    expect((await verdictOf(broken)).passed).toBe(false);
    const swapped = withChange(golden, "selected_experts", (values) => {
      [values[0], values[1]] = [values[1] ?? 0, values[0] ?? 0];
    });
    expect((await verdictOf(swapped)).failures.join()).toContain("routing_weights row 0");
    const reordered = withChange(swapped, "routing_weights", (values) => {
      [values[0], values[1]] = [values[1] ?? 0, values[0] ?? 0];
    });
    expect((await verdictOf(reordered)).passed).toBe(true);
  });

  it("fails a float32 run of a model when any compared number is off by 5 parts in 10,000", async () => {
    const golden = await recordedCase("model-olmoe/0");
    const choice = handlerOf(golden);
    if ("unsupported" in choice) throw new Error(choice.unsupported);
    const { compared, passed, notes } = await choice.run(golden, { backend, precision: "f32" });
    expect([passed, notes]).toEqual([true, [expect.stringContaining("lengths of their sums")]]);
    const largest = largestOf([...golden.tensors.values()], compared);
    for (const name of compared) {
      const off = withChange(golden, name, nudge(largest, 5e-4));
      const { failures } = await choice.run(off, { backend, precision: "f32" });
      expect(failures.join("; "), name).toContain(name);
    }
  });

  it("fails tensors that no rule knows", async () => {
    const golden = await recordedCase("mixtral/0");
    const output = golden.tensors.get("output");
    if (output === undefined) throw new Error("no output");
    const more = new Map([...golden.tensors, ["unheard_of", { ...output, name: "unheard_of" }]]);
    expect((await verdictOf({ ...golden, tensors: more })).failures).toEqual([
      "unheard_of was not compared",
    ]);
  });

  it("fails damaged cases one by one, with a reason", async () => {
    const block = "mixtral/0";
    const model = "model-olmoe/0";
    const tensors = `${block}/tensors.safetensors`;
    const damage: readonly (readonly [string, (folder: string) => Promise<unknown>, RegExp])[] = [
      [block, (at) => rewrite(join(at, tensors), (b) => b.subarray(0, b.length - 8)), /cut short/],
      [block, (at) => rewrite(join(at, tensors), (b) => b.subarray(0, 5)), /safetensors/],
      [
        block,
        (at) => rewrite(join(at, block, "case.json"), (b) => b.subarray(0, 90)),
        /case\.json/,
      ],
      [block, (at) => writeFile(join(at, block, "case.json"), "{}"), /no config/],
      [block, (at) => rm(join(at, block, "case.json")), /case\.json/],
      [block, (at) => rm(join(at, tensors)), /tensors\.safetensors/],
      [block, (at) => renameTensor(join(at, tensors), "output"), /no tensor "output"/],
      [block, (at) => renameTensor(join(at, tensors), "grad.x"), /no tensor "grad\.x"/],
      [
        block,
        (at) => renameTensor(join(at, tensors), "aux.load_balancing_loss"),
        /no tensor "aux\.load_balancing_loss"/,
      ],
      [
        block,
        (at) => reverseShape(join(at, tensors), "weights.gate.weight"),
        /gate\.weight.*\[8, 4\]/,
      ],
      [block, (at) => reverseShape(join(at, tensors), "output"), /output.*\[8, /],
      [block, (at) => writeFile(join(at, tensors), new Uint8Array(64)), /tensors\.safetensors/],
      [
        block,
        (at) => renameTensor(join(at, tensors), "weights.gate.weight"),
        /missing: gate\.weight; unexpected/,
      ],
      [
        block,
        (at) => renameTensor(join(at, tensors), "grad.weights.experts.1.w1.weight", "f32.nothing"),
        /grad\.weights\.experts\.1\.w1\.weight/,
      ],
      [
        block,
        (at) => renameTensor(join(at, tensors), "aux.load_balancing_loss", "f32.nothing"),
        /aux\.load_balancing_loss/,
      ],
      [
        block,
        (at) =>
          rewrite(join(at, block, "case.json"), (b) =>
            b.toString().replace('"num_local_experts": 4', '"num_local_experts": 5'),
          ),
        /missing/,
      ],
      [
        block,
        (at) =>
          rewrite(join(at, block, "case.json"), (b) => b.toString().replace('"silu"', '"sillu"')),
        /sillu/,
      ],
      [model, (at) => rm(join(at, model, "model.safetensors")), /model\.safetensors/],
      [
        model,
        (at) => rewrite(join(at, model, "model.safetensors"), (b) => b.subarray(0, b.length / 2)),
        /cut short/,
      ],
      [model, (at) => rewrite(join(at, model, "config.json"), (b) => b.subarray(0, 30)), /config/],
    ];
    for (const [path, apply, message] of damage) {
      await withCopies([path, "loss_switch/80010"], async (folder) => {
        await apply(folder);
        const report = await runGoldens(folder, { backend, precision: "f64" });
        expect(report, String(message)).toMatchObject({ passed: 1, failed: 1 });
        const failed = report.cases.find(({ status }) => status === "failed") as CaseResult;
        expect(failed.detail).toMatch(message);
        expect(failed.detail, "one line").not.toContain("\n");
        expect(failed.detail, "no crash").not.toMatch(/TypeError|RangeError|SyntaxError|undefined/);
      });
    }
    expect(backend.statistics().liveBuffers).toBe(0);
  });

  it("says which families and functions are not built or not known", async () => {
    await withCopies(["mixtral/0", "loss_switch/80010", "model-olmoe/0"], async (folder) => {
      const { rename } = await import("node:fs/promises");
      await rename(join(folder, "mixtral"), join(folder, "brandnew"));
      await rename(join(folder, "loss_switch"), join(folder, "sinkhole"));
      await rewrite(join(folder, "model-olmoe/0/case.json"), (bytes) =>
        bytes.toString().replace('"model_type": "olmoe"', '"model_type": "dbrx"'),
      );
      const report = await runGoldens(folder, { backend, precision: "f64" });
      expect(report).toMatchObject({ passed: 0, failed: 0, unsupported: 3, unknown: 2 });
      expect(report.cases.map(({ detail }) => detail)).toEqual([
        "the family brandnew is not known",
        "model-olmoe: whole models of the family dbrx are not built yet",
        "the function sinkhole is not known",
      ]);
    });
  });

  it("refuses folders without cases", async () => {
    await withCopies([], async (folder) => {
      await mkdir(join(folder, "mixtral"));
      for (const path of [folder, join(folder, "none")]) {
        const running = runGoldens(path, { backend, precision: "f64" });
        await expect(running).rejects.toThrow(ConfigError);
      }
    });
  });
});

/** The largest |number| among the compared tensors. */
function largestOf(tensors: readonly Recorded[], compared: readonly string[]): number {
  return Math.max(
    ...tensors
      .filter(({ name, isInteger }) => compared.includes(name) && !isInteger)
      .map(({ data }) => data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)),
  );
}

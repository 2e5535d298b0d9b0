import createCpu from "@moiety/backend-cpu";
import type { Backend } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GoldenCase, Values } from "./case.ts";
import { measure, runInFloat32 } from "./float32.ts";
import type { CaseHandler } from "./handler.ts";
import { handlerOf } from "./handlers.ts";
import { nudge, recordedCase, withChange } from "./testing/cases.ts";
import { largestOf } from "./values.ts";

/** The router's weight in the case of {@link tied}. */
const GATE = "weights.gate.wg.weight";

function runnerOf(golden: GoldenCase): CaseHandler {
  const choice = handlerOf(golden);
  if ("unsupported" in choice) throw new Error(choice.unsupported);
  return choice.run;
}

describe("a float32 run", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createCpu();
  });
  afterAll(() => backend.dispose());

  it.each([
    "afmoe-v5/1",
    "aria/1",
    "deepseek_v2/2-group_limited_greedy",
    "deepseek_v3/2-norm=False_groups=4x2",
    "deepseek_v4-v5/2-hash",
    "flaxformer_routing/2-TokensChooseMaskedRouter",
    "gemma4-v5/1",
    "hunyuan_v1_moe/1",
    "jamba/0",
    "loss_load_balancing/80001-mixtral-mask",
    "loss_switch/80011",
    "megatron_topk/3-sigmoid",
    "nemotron_h-v5/1-latent=None",
    "olmoe/2-norm_topk_prob=False",
    "qwen3_moe/1-norm_topk_prob=True",
    "switch_transformers/1-capacity=2",
    "vmoe_block/4-expertschoose",
  ])("of %s fails when any compared number is off by 3 parts in 10,000", async (path) => {
    const golden = await recordedCase(path);
    const run = runnerOf(golden);
    const { found: measured, compared } = await measure(run, golden, backend, false);
    const verdict = await run(golden, { backend, precision: "f32", measured });
    expect(verdict).toMatchObject({ passed: true, notes: [] });
    expect(verdict.compared).toEqual(compared);
    const largest = largestIn(golden, compared);
    for (const name of compared) {
      const off = withChange(golden, name, nudge(largest, 3e-4));
      const { failures } = await run(off, { backend, precision: "f32", measured });
      expect(failures.join("; "), name).toContain(name);
    }
  });

  it("tells how much of the budget it used", async () => {
    const golden = await recordedCase("mixtral/2");
    const { passed, notes, worst } = await runInFloat32(runnerOf(golden), golden, backend);
    expect(passed).toBe(true);
    expect(worst?.error).toBeGreaterThan(0.01);
    expect(notes).toEqual([
      `at most ${worst?.error?.toPrecision(2)} of the budget (${worst?.tensor} row ${worst?.row})`,
    ]);
  });

  it("fails where the truth is beyond float64, although float32 could not tell", async () => {
    const golden = await recordedCase("mixtral/2");
    const off = withChange(golden, "output", (values) => {
      values[0] = (values[0] ?? 0) + 1e-8 * largestOf(values);
    });
    const { passed, failures } = await runInFloat32(runnerOf(off), off, backend);
    expect(passed).toBe(false);
    expect(failures.join()).toMatch(/^on the yardstick, output row 0: /);
  });

  it("says which numbers have no bound, and holds them to the lengths of their sums", async () => {
    const golden = await recordedCase("mixtral/2");
    const run = runnerOf(golden);
    const { found } = await measure(run, golden, backend, false);
    const output = found.get("output") as Values;
    const wide = { ...output, bounds: output.data.map(() => Number.POSITIVE_INFINITY) };
    const measured = new Map([...found, ["output", wide]]);
    measured.delete("router_logits");
    const loose = { backend, precision: "f32", measured } as const;
    const { passed, notes } = await run(golden, loose);
    const logits = golden.tensors.get("router_logits")?.data.length ?? 0;
    expect([passed, notes]).toEqual([
      true,
      [
        `the bounds of ${output.data.length + logits} numbers are too wide to judge by (in output, ` +
          "router_logits); those are held to the lengths of their sums",
      ],
    ]);
    for (const name of ["output", "router_logits"]) {
      const off = withChange(golden, name, nudge(1, 3e-3));
      expect((await run(off, loose)).failures.join()).toContain(name);
    }
  });

  it("plays choices back that rounding may decide", async () => {
    const { golden, run } = await tied(backend);
    // float32 cannot tell the two experts apart and takes the lower one.
    const own = await run(golden, { backend, precision: "f32" });
    expect(own.failures.join()).toContain("selected_experts");
    const verdict = await runInFloat32(run, golden, backend);
    expect(verdict.failures).toEqual([]);
    expect(verdict.notes.join("; ")).toMatch(
      /rounding may decide [1-9]\d* of the choices; they were played back as recorded; at most/,
    );
    for (const name of ["output", "routing_weights", "grad.x"]) {
      const off = withChange(golden, name, nudge(1, 3e-4));
      expect((await runInFloat32(run, off, backend)).failures.join(), name).toContain(name);
    }
  });

  it("fails a certain choice that is missed beside uncertain ones", async () => {
    const { golden, run } = await tied(backend);
    const { found } = await measure(run, golden, backend, false);
    const bounds = found.get("selected_experts")?.bounds;
    const certain = bounds?.findIndex((bound) => bound === 0) ?? -1;
    expect(certain).toBeGreaterThanOrEqual(0);
    // The backend answers as if its router had taken another expert there.
    const broken: CaseHandler = async (given, context) => {
      const verdict = await run(given, context);
      if (context.boundsOf || context.replay) return verdict;
      const chosen = verdict.found.get("selected_experts") as Values;
      const data = chosen.data.map((id, at) => (at === certain ? Number.NaN : id));
      return { ...verdict, found: new Map([["selected_experts", { ...chosen, data }]]) };
    };
    const { passed, failures } = await runInFloat32(broken, golden, backend);
    expect(passed).toBe(false);
    expect(failures.join()).toMatch(
      /selected_experts row \d+: a choice is missing that is certain/,
    );
  });

  it("holds a handler that plays nothing back to every recorded choice", async () => {
    const { golden, run } = await tied(backend);
    const deaf: CaseHandler = (given, context) => run(given, { ...context, replay: false });
    const { passed, failures } = await runInFloat32(deaf, golden, backend);
    expect(passed).toBe(false);
    expect(failures.join()).toContain("selected_experts");
  });

  it("leaves no tensor behind", () => {
    expect(backend.statistics().liveBuffers).toBe(0);
  });
});

/**
 * A case with pairs of experts that only float64 can tell apart: the router's row of one is that of
 * the other, a little longer. What the libraries make of it in float64 is its truth.
 */
async function tied(
  backend: Backend,
): Promise<{ readonly golden: GoldenCase; readonly run: CaseHandler }> {
  const recorded = await recordedCase("hunyuan_v1_moe/1");
  const lengthened = withChange(recorded, GATE, (values, { shape }) => {
    const [, width = 0] = shape;
    for (const expert of [0, 2, 4]) {
      const row = values.subarray(expert * width, (expert + 1) * width);
      values.set(
        row.map((value) => value * (1 + 1e-9)),
        (expert + 1) * width,
      );
    }
  });
  const given = withChange(lengthened, "selected_experts", (values, { shape }) => {
    values.set(bestExperts(lengthened, shape.at(-1) ?? 1));
  });
  const run = runnerOf(given);
  const { found } = await run(given, { backend, precision: "f64" });
  const tensors = new Map(given.tensors);
  for (const [name, { shape, data }] of found) {
    const isInteger = tensors.get(name)?.isInteger ?? false;
    tensors.set(name, { name, isInteger, shape, data });
  }
  return { golden: { ...given, tensors }, run };
}

/** The experts of each token with the highest logits, best first. */
function bestExperts({ tensors }: GoldenCase, topK: number): number[] {
  const [x, gate] = [tensors.get("x"), tensors.get(GATE)];
  const [experts = 0, width = 0] = gate?.shape ?? [];
  const tokens = (x?.data.length ?? 0) / width;
  return Array.from({ length: tokens }, (_, token) => {
    const row = x?.data.subarray(token * width, (token + 1) * width);
    const logits = Array.from({ length: experts }, (_, expert) =>
      Array.from(row ?? []).reduce(
        (sum, value, at) => sum + value * (gate?.data[expert * width + at] ?? 0),
        0,
      ),
    );
    const order = logits.map((_, expert) => expert);
    return order.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, topK);
  }).flat();
}

/** The largest |number| among the compared tensors. */
function largestIn({ tensors }: GoldenCase, compared: readonly string[]): number {
  const floats = [...tensors.values()].filter(
    ({ name, isInteger }) => compared.includes(name) && !isInteger,
  );
  return Math.max(...floats.map(({ data }) => largestOf(data)));
}

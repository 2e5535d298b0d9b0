import { create } from "@moiety/backend-cpu";
import { UnsupportedError, matmul, unary } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ConformanceCase } from "./case.ts";
import { losable } from "./cases/testing/losable.ts";
import { conform } from "./conform.ts";
import type { ConformOptions, Progress } from "./options.ts";
import type { Reference } from "./reference.ts";
import type { CaseResult, Report } from "./report.ts";
import { fakeCase, negated, negates } from "./testing/fake-cases.ts";
import { spoiled, wrongAt } from "./testing/spoiled.ts";
import { hostTensor } from "./host-tensor.ts";
import { reportToJson } from "./report.ts";

const passes = fakeCase("passes", () => {});
const fails = fakeCase("fails", (test) => test.expect(false, "not met"));

function run(
  catalogue: readonly ConformanceCase[],
  more: Partial<ConformOptions> = {},
): Promise<Report> {
  return conform({ createBackend: () => create(), profile: "full", catalogue, ...more });
}

async function only(
  testCase: ConformanceCase,
  more: Partial<ConformOptions> = {},
): Promise<CaseResult> {
  const [result] = (await run([testCase], more)).cases;
  if (result === undefined) throw new Error("nothing was run");
  return result;
}

describe("statuses", () => {
  it("pass: the case's demand is met", async () => {
    expect(await only(negates)).toMatchObject({ status: "pass", reason: "", maxErr: 0 });
    expect((await run([negates, passes])).verdict).toBe("pass");
  });

  it("fail: by expect, by bounds, by an error of the backend, by bits", async () => {
    expect(await only(fails)).toMatchObject({ status: "fail", reason: "not met" });
    const beyond = await only(negates, { createBackend: async () => wrongAt("unary") });
    expect(beyond).toMatchObject({
      status: "fail",
      worst: { output: "y", index: 0, got: 77, wanted: -1 },
    });
    expect(beyond.reason).toMatch(/y\[0\] is 77 instead of -1/);
    expect(beyond.maxErr).toBeGreaterThan(1);
    const throwing = spoiled(() => ({
      run() {
        throw new TypeError("the driver's own fault");
      },
    }));
    const broken = await only(negates, { createBackend: async () => throwing });
    expect(broken).toMatchObject({ status: "fail" });
    expect(broken.reason).toMatch(/TypeError: the driver's own fault/);
    const bits = fakeCase("bits", (test) =>
      test.same("zeros", Float32Array.of(0, -0), Float32Array.of(0, 0)),
    );
    expect(await only(bits)).toMatchObject({ status: "fail" });
    expect((await run([negates, fails])).verdict).toBe("fail");
  });

  it("fail: a claimed op that throws Unsupported", async () => {
    const lying = spoiled((driver) => ({
      run(call) {
        if (call.op.name !== "unary") return driver.run(call);
        throw new UnsupportedError("no such kernel after all", "unary");
      },
    }));
    const result = await only(negates, { createBackend: async () => lying });
    expect(result).toMatchObject({ status: "fail" });
    expect(result.reason).toMatch(/no such kernel after all/);
  });

  it("unsupported: no kernel, an unclaimed extension, or the case's own rule; never a pass", async () => {
    const without = (): ReturnType<typeof create> =>
      Promise.resolve(
        spoiled(({ capabilities }) => ({
          capabilities: {
            ...capabilities,
            ops: capabilities.ops.filter((op) => op !== "matmul"),
            batchInvariant: false,
          },
        })),
      );
    const multiplies = fakeCase("multiplies", () => {}, { ops: [matmul] });
    const same = fakeCase("same", () => {}, { extension: "batch-invariant" });
    const ruled = fakeCase("ruled", () => {}, { unsupported: () => "a rule" });
    const report = await run([multiplies, same, ruled, passes], { createBackend: without });
    expect(report.cases.map(({ status, reason }) => [status, reason])).toEqual([
      ["unsupported", "the manifest has no kernel of matmul"],
      ["unsupported", "the manifest is not batchInvariant"],
      ["unsupported", "a rule"],
      ["pass", ""],
    ]);
    expect(report).toMatchObject({ verdict: "partial", coverage: 0.25 });
    expect(report.explanation).toMatch(/lacks matmul/);
    const optional = await run([same, ruled, passes], { createBackend: without });
    expect(optional.verdict).toBe("pass");
    expect(optional.coverage).toBeCloseTo(1 / 3);
    expect((await run([ruled])).verdict).toBe("partial");
  });

  it("precondition: no backend; a failure where a device was required", async () => {
    const createBackend = async (): Promise<never> => {
      throw new UnsupportedError("no adapter", "adapter");
    };
    const report = await run([passes, negates], { createBackend });
    expect(report).toMatchObject({ verdict: "precondition", specVersion: null, coverage: 0 });
    expect(report.backend.manifest).toBeNull();
    expect(report.counts).toMatchObject({ precondition: 2, pass: 0 });
    expect(report.cases[0]?.reason).toMatch(/no adapter/);
    const required = await run([passes], { createBackend, requireDevice: true });
    expect(required).toMatchObject({ verdict: "fail", counts: { fail: 1, precondition: 0 } });
  });

  it("xfail and xpass: expected failures are kept apart, but are no pass", async () => {
    const entry = { reason: "rounds wrongly", link: "https://example.com/1" };
    const report = await run([fails, passes], { xfail: [{ id: fails.id, ...entry }] });
    expect(report).toMatchObject({ verdict: "partial", counts: { xfail: 1, pass: 1, fail: 0 } });
    expect(report.cases[0]?.reason).toBe("rounds wrongly (https://example.com/1): not met");
    const stale = await run([passes], { xfail: [{ id: passes.id, ...entry }] });
    expect(stale).toMatchObject({ verdict: "fail", counts: { xpass: 1 } });
  });

  it("error: the kit's own fault, or inputs too poor to judge by", async () => {
    const poor = fakeCase("poor", (test) => test.poor("all tokens are ambiguous"));
    expect(await only(poor)).toMatchObject({ status: "error", reason: "all tokens are ambiguous" });
    const brokenProgram = fakeCase("broken-program", (test) =>
      test.compare({}, () => {
        throw new RangeError("in the case");
      }),
    );
    const result = await only(brokenProgram);
    expect(result).toMatchObject({ status: "error" });
    expect(result.reason).toMatch(/yardstick failed: RangeError: in the case/);
    // 1/x next to 0: bounds say nothing there.
    const wild = fakeCase("wild", (test) =>
      test.compare({ x: hostTensor([1, 2]) }, ({ inputs: { x } }) => {
        const nearly = unary(unary(x, { kind: "exp" }), { kind: "log" });
        return { y: unary(unary(nearly, { kind: "floor" }), { kind: "neg" }) };
      }),
    );
    expect((await only(wild)).status).toBe("error");
    const leaks = fakeCase("leaks", (test) => void test.backend.tensor([1]));
    expect(await only(leaks)).toMatchObject({ status: "error" });
    const xfailed = [{ id: poor.id, reason: "x", link: "y" }];
    expect((await only(poor, { xfail: xfailed })).status).toBe("error");
  });

  it("timeout: the case does not end, and the next gets a fresh backend", async () => {
    const hangs = fakeCase("hangs", () => new Promise(() => {}));
    let made = 0;
    const report = await run([hangs, negates], {
      timeout: 50,
      createBackend: () => {
        made++;
        return create();
      },
    });
    expect(report.cases.map(({ status }) => status)).toEqual(["timeout", "pass"]);
    expect(report).toMatchObject({ verdict: "fail" });
    expect(made).toBe(2);
  });
});

describe("what is checked around every case", () => {
  it("finds buffers that the backend keeps", async () => {
    let kept = 0;
    const leaking = spoiled((driver) => ({
      free: (handle) => void (kept++ === 0 ? undefined : driver.free(handle)),
    }));
    const result = await only(negates, { createBackend: async () => leaking });
    expect(result).toMatchObject({ status: "fail" });
    expect(result.reason).toMatch(/1 buffers \(\d+ bytes\) are still live/);
  });

  it("finds kernels that read what they did not write", async () => {
    const stale = spoiled((driver) => ({
      run(call) {
        const [spec] = call.outputs;
        return call.op.name === "unary" && spec ? [driver.allocate(spec)] : driver.run(call);
      },
    }));
    // The garbage is written where a block of this size is reused.
    const zeros = fakeCase("zeros", (test) =>
      test.compare({ x: hostTensor(new Float32Array(4096)) }, ({ inputs: { x } }) => ({
        y: negated(x),
      })),
    );
    expect((await only(zeros)).status).toBe("pass");
    expect((await only(zeros, { createBackend: async () => stale })).status).toBe("fail");
  });

  it("finds writes into other tensors", async () => {
    const handles: { readonly block: ArrayBuffer; readonly byteLength: number }[] = [];
    const spilling = spoiled((driver) => ({
      allocate(spec) {
        const handle = driver.allocate(spec);
        handles.push(handle);
        return handle;
      },
      run(call) {
        const canary = handles.findLast(({ byteLength }) => byteLength === 67 * 4);
        if (canary) new Uint32Array(canary.block)[66] = 1;
        return driver.run(call);
      },
    }));
    const result = await only(negates, { createBackend: async () => spilling });
    expect(result).toMatchObject({ status: "fail" });
    expect(result.reason).toMatch(/a canary was written over: its word 66 is 0x1/);
  });

  it("goes on with a fresh backend after one that a case broke", async () => {
    const ends = fakeCase("ends", async ({ backend }) => {
      await backend.dispose();
      backend.tensor([1]);
    });
    const report = await run([ends, negates]);
    expect(report.cases.map(({ status }) => status)).toEqual(["fail", "pass"]);
  });

  it("gives cases a way to lose the device only where the caller has one", async () => {
    const seen: unknown[] = [];
    const loses = fakeCase("loses", (test) => void seen.push(test.loseDevice), {
      extension: "device-loss",
    });
    const createBackend = () => losable().create();
    const loseDevice = async (): Promise<void> => {};
    expect((await only(loses, { createBackend })).status).toBe("unsupported");
    expect((await only(loses, { loseDevice })).reason).toMatch(/does not say that it recovers/);
    expect((await only(loses, { createBackend, loseDevice })).status).toBe("pass");
    expect(seen).toEqual([expect.any(Function)]);
  });
});

describe("replay", () => {
  it("gives every case a seed of its own, which no other case changes", async () => {
    const draws = new Map<string, number[]>();
    const drawing = (name: string): ConformanceCase =>
      fakeCase(name, ({ random, seed }) => {
        draws.set(name, [...(draws.get(name) ?? []), seed, ...random.normal([3]).data]);
      });
    const cases = [drawing("one"), drawing("two"), drawing("three")];
    await run(cases);
    const first = new Map(draws);
    draws.clear();
    await run(cases, { cases: ["L0/fake/two"] });
    expect([...draws.keys()]).toEqual(["two"]);
    expect(draws.get("two")).toEqual(first.get("two"));
    expect(first.get("one")).not.toEqual(first.get("two"));
    draws.clear();
    await run(cases, { cases: ["L0/fake/two"], seed: 1 });
    expect(draws.get("two")).not.toEqual(first.get("two"));
  });

  it("prints a line whose parts run exactly that case", async () => {
    const names: string[] = [];
    const cases = ["a", "a-b", "c"].map((name) => fakeCase(name, () => void names.push(name)));
    const report = await run(cases, { seed: 5 });
    const { repro = "" } = report.cases[0] ?? {};
    expect(repro).toBe("moiety conform --backend cpu --profile full --case 'L0/fake/a' --seed 5");
    names.length = 0;
    await run(cases, { seed: 5, cases: [/--case '([^']*)'/.exec(repro)?.[1] ?? ""] });
    expect(names).toEqual(["a"]);
    names.length = 0;
    await run(cases, { cases: ["L0/fake/a-", "L0/fake/c"] });
    expect(names).toEqual(["a-b", "c"]);
    await run(cases, { cases: ["L0/fak"] });
    expect(names.slice(2)).toEqual(["a", "a-b", "c"]);
    const own = await only(passes, { repro: (id, seed) => `again ${id} ${seed}`, seed: 9 });
    expect(own.repro).toBe("again L0/fake/passes 9");
  });

  it("takes references from a cache, and only for the same inputs", async () => {
    const cache = new Map<string, Reference>();
    await run([negates], { references: cache });
    const keys = [...cache.keys()];
    expect(keys).toHaveLength(1);
    await run([negates], { references: cache });
    expect([...cache.keys()]).toEqual(keys);
    const [key = ""] = keys;
    const known = cache.get(key);
    const y = known?.outputs["y"];
    if (known === undefined || y === undefined) throw new Error("nothing was kept");
    const planted = { ...y, values: Float64Array.of(5, 5, 5) };
    cache.set(key, { ...known, outputs: { y: planted } });
    expect((await only(negates, { references: cache })).status).toBe("fail");
    const other = fakeCase("negates", (test) =>
      test.compare({ x: hostTensor([4, 5, 6]) }, ({ inputs: { x } }) => ({ y: negated(x) })),
    );
    expect((await only(other, { references: cache })).status).toBe("pass");
  });

  it("tells of every case that begins and ends", async () => {
    const told: string[] = [];
    const onProgress = ({ done, total, running, result }: Progress): void => {
      told.push(`${done}/${total} ${running ?? ""}${result?.status ?? ""}`);
    };
    await run([passes, fails], { onProgress });
    expect(told).toEqual(["0/2 L0/fake/passes", "1/2 pass", "1/2 L0/fake/fails", "2/2 fail"]);
  });
});

describe("the report", () => {
  it("has what is needed to read it later", async () => {
    const report = await run([negates, fails], {
      env: { runtime: "test", cores: 2 },
      backendVersion: "1.2.3",
      seed: 11,
    });
    const json: unknown = JSON.parse(reportToJson(report));
    expect(json).toMatchObject({
      kitVersion: expect.stringMatching(/^\d+\.\d+\.\d+/),
      specVersion: 1,
      backend: { name: "cpu", version: "1.2.3", manifest: { determinism: "bitwise" } },
      env: { runtime: "test", cores: 2 },
      seed: 11,
      profile: "full",
      verdict: "fail",
      coverage: 0.5,
      counts: { pass: 1, fail: 1, unsupported: 0, error: 0 },
      cases: [
        { id: negates.id, maxErr: 0 },
        { id: fails.id, maxErr: null, worst: null },
      ],
    });
  });

  it("keeps numbers that JSON has no word for", async () => {
    const nan = fakeCase("nan", (test) =>
      test.compare({ x: hostTensor([1]) }, ({ inputs: { x } }) => ({ y: negated(x) })),
    );
    const wrong = spoiled((driver) => ({
      run(call) {
        const handles = driver.run(call);
        const [first] = handles;
        if (first) new Float32Array(first.block)[0] = Number.NaN;
        return handles;
      },
    }));
    const report = await run([nan], { createBackend: async () => wrong });
    const json = JSON.parse(reportToJson(report)) as Report;
    expect(json.cases[0]).toMatchObject({ maxErr: "Infinity", worst: { got: "NaN", wanted: -1 } });
  });

  it("carries what a case notes", async () => {
    const notes = fakeCase("notes", (test) => {
      test.note("ambiguousTokens", 3);
      test.note("tokens", 400);
    });
    expect(await only(notes)).toMatchObject({ ambiguousTokens: 3, notes: { tokens: 400 } });
  });
});

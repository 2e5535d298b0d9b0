import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NumericError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openBackend } from "moiety/open-backend";
import { runCommand } from "./command.ts";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";

let folder = "";
let text = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lab-command-"));
  text = join(folder, "text.txt");
  writeFileSync(text, "some words of text, ".repeat(400));
});

afterEach(() => rmSync(folder, { recursive: true }));

interface Answer {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

async function run(experiment: Experiment, ...words: string[]): Promise<Answer> {
  let out = "";
  let errors = "";
  const code = await runCommand(
    words,
    {
      output: { write: (part) => (out += part) },
      progress: { write: (part) => (errors += part) },
      signal: new AbortController().signal,
      now: () => 0,
      date: () => new Date(2026, 10, 22, 9, 5, 7),
      workingFolder: folder,
      open: ({ name }) => openBackend({ name: name === "auto" ? "cpu" : name }),
    },
    experiment,
  );
  return { code, out, errors };
}

/** An experiment that tells of a made-up run of ten steps, from the step that is done. */
function fake(done: number, seen: ExperimentContext[] = []): Experiment {
  return async (context) => {
    seen.push(context);
    const { result, records } = syntheticRun({ steps: 10, titles: ["text"] });
    context.begin(10, done);
    const last = Math.min(10, context.stopAfter ?? 10);
    for (const record of records) {
      if (record.step > done && record.step <= last) context.step(record);
    }
    context.flush();
    return { ...result, stepsDone: last, ending: last < 10 ? "stopped" : "finished" };
  };
}

const never: Experiment = async () => {
  throw new Error("the experiment must not start");
};

describe("a new run", () => {
  it("writes settings, records and report, and prints the table", async () => {
    const out = join(folder, "deep", "run");
    const answer = await run(fake(0), "--steps", "10", "--text", text, "--out", out);
    expect(answer.errors).toContain("step 10/10");
    expect(answer.code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["metrics.jsonl", "report.html", "run.json"]);
    expect(readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(30);
    expect(answer.out).toContain("overall");
    expect(answer.out).toContain(`report: ${join(out, "report.html")}`);
    expect(answer.out).not.toContain("--resume");
  });

  it("is named by its date where no folder is given, never the same twice", async () => {
    await run(fake(0), "--text", text);
    await run(fake(0), "--text", text);
    expect(readdirSync(join(folder, "runs")).sort()).toEqual([
      "2026-11-22-09.05.07",
      "2026-11-22-09.05.07-2",
    ]);
  });

  it("saves the number of steps that the clock fixed", async () => {
    const out = join(folder, "run");
    await run(fake(0), "--minutes", "1", "--text", text, "--out", out);
    const settings: unknown = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(settings).toMatchObject({ minutes: 1, steps: 10 });
  });

  it("says on one line what went wrong in the experiment", async () => {
    const failing: Experiment = async (context) => {
      context.begin(10, 0);
      throw new NumericError("step 3: the loss is not finite,\n  lower the rate");
    };
    const answer = await run(failing, "--text", text, "--out", join(folder, "run"));
    expect(answer.code).toBe(1);
    expect(answer.errors).toMatch(/\nerror: step 3: the loss is not finite, lower the rate\n$/);
  });

  it("lets errors that nobody foresaw through, with their stack", async () => {
    await expect(run(never, "--text", text, "--out", join(folder, "run"))).rejects.toThrow(
      "the experiment must not start",
    );
  });
});

describe("bad input", () => {
  it.each([
    [["--bogus"], /unknown option '--bogus'/],
    [["--top-k", "17"], /--top-k 17 is above --experts 16 of preset anchor/],
    [["--top-k", "9", "--preset", "small"], /--top-k 9 is above --experts 8/],
    [["--steps", "3", "--minutes", "1"], /give one of them/],
    [["--text", "/nowhere/a.txt"], /there is no such file/],
    [["--resume", "/nowhere"], /there is no such folder/],
    [["--router", "softRouter"], /--router softRouter does not train here: it has no rule/],
    [["--router", "dogeRouter"], /--router dogeRouter .*experts is 8, but must be a square/],
    [["--router", "baseRouter", "--experts", "7"], /512 tokens to 7 experts is not possible/],
    [["--router", "cosineRouter", "--balance", "bias"], /cosineRouter does not have/],
    [["--balance", "loadCv"], /loadCv has no gradient with these routings/],
  ])("%j gives one line, code 1, and leaves nothing behind", async (words, message) => {
    const answer = await run(never, ...words);
    expect(answer.code).toBe(1);
    expect(answer.errors).toMatch(message);
    expect(answer.errors).toMatch(/^error: [^\n]+\n$/);
    expect(answer.out).toBe("");
    expect(readdirSync(folder)).toEqual(["text.txt"]);
  });

  it("an empty or a short text leaves no folder", async () => {
    const empty = join(folder, "empty.txt");
    writeFileSync(empty, "");
    const out = join(folder, "run");
    expect((await run(never, "--text", empty, "--out", out)).errors).toContain("is empty");
    expect(existsSync(out)).toBe(false);
  });

  it("a folder that cannot be made", async () => {
    const answer = await run(never, "--text", text, "--out", join(text, "run"));
    expect(answer.code).toBe(1);
    expect(answer.errors).toMatch(/^error: --out .*text\.txt\/run cannot be written/);
  });

  it("a folder that is a file", async () => {
    const answer = await run(never, "--text", text, "--out", text);
    expect(answer.errors).toMatch(/^error: --out .*text\.txt cannot be written/);
  });

  it.each([
    "run.json",
    "metrics.jsonl",
    "report.html",
    "model",
    "model-dense",
    "model-hash",
    "checkpoint",
  ])("a folder that holds a run's %s already, which stays as it is", async (part) => {
    const out = join(folder, "run");
    mkdirSync(out);
    writeFileSync(join(out, part), "precious");
    const answer = await run(never, "--text", text, "--out", out);
    expect(answer.code).toBe(1);
    expect(answer.errors).toContain(`already holds a run (${part})`);
    expect(readdirSync(out)).toEqual([part]);
    expect(readFileSync(join(out, part), "utf8")).toBe("precious");
  });

  it("a folder without a run to resume", async () => {
    const answer = await run(never, "--resume", folder);
    expect(answer.errors).toContain("holds no run (run.json is missing)");
  });
});

describe("a resumed run", () => {
  async function stopped(): Promise<string> {
    const out = join(folder, "run");
    const words = ["--steps", "10", "--seed", "5", "--text", text, "--out", out];
    const answer = await run(fake(0), ...words, "--stop-after", "4");
    expect(answer.out).toContain(`go on with: npm start -- --resume ${out}`);
    return out;
  }

  it("keeps its settings and continues its records", async () => {
    const out = await stopped();
    const seen: ExperimentContext[] = [];
    const answer = await run(fake(4, seen), "--resume", out, "--seed", "5");
    expect(answer.code).toBe(0);
    expect(answer.errors).toContain("going on after step 4 of 10");
    expect(seen[0]?.settings).toMatchObject({ seed: 5, steps: 10, text: [text] });
    const lines = readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    const { records } = syntheticRun({ steps: 10, titles: ["text"] });
    expect(lines.map((line): unknown => JSON.parse(line))).toEqual(records);
  });

  it("refuses another seed", async () => {
    const answer = await run(never, "--resume", await stopped(), "--seed", "6");
    expect(answer.errors).toContain("--seed 6 does not fit the run");
  });

  it("refuses a stop that it has passed, and leaves the records", async () => {
    const out = await stopped();
    const before = readFileSync(join(out, "metrics.jsonl"), "utf8");
    const answer = await run(fake(4), "--resume", out, "--stop-after", "3");
    expect(answer.code).toBe(1);
    expect(answer.errors).toContain("has done 4 steps already");
    expect(readFileSync(join(out, "metrics.jsonl"), "utf8")).toBe(before);
  });

  it("refuses a text that has changed", async () => {
    const out = await stopped();
    writeFileSync(text, "other words of text, ".repeat(400));
    const answer = await run(never, "--resume", out);
    expect(answer.code).toBe(1);
    expect(answer.errors).toContain("the text is not the one that the run began with");
  });
});

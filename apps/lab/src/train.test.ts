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
import create from "@moiety/backend-cpu";
import { MoietyError, NumericError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Experiment, ExperimentContext } from "./experiment-context.ts";
import type { TrainOptions } from "./options.ts";
import { syntheticRun } from "./testing/synthetic-run.ts";
import { type TrainedRun, trainBy } from "./train.ts";

let folder = "";
let text = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lab-command-"));
  text = join(folder, "text.txt");
  writeFileSync(text, "some words of text, ".repeat(400));
});

afterEach(() => rmSync(folder, { recursive: true }));

interface Answer extends TrainedRun {
  readonly progress: string;
}

async function run(experiment: Experiment, options: TrainOptions): Promise<Answer> {
  let progress = "";
  const trained = await trainBy(experiment, options, {
    progress: { write: (part) => (progress += part) },
    signal: new AbortController().signal,
    now: () => 0,
    date: () => new Date(2026, 10, 22, 9, 5, 7),
    workingFolder: folder,
    open: async () => ({
      backend: await create(),
      name: "cpu",
      worker: "cpu",
      line: "backend cpu",
    }),
  });
  return { ...trained, progress };
}

/** What a run is refused with: an error of ours, on one line. */
async function refusal(experiment: Experiment, options: TrainOptions): Promise<string> {
  const error: unknown = await run(experiment, options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(MoietyError);
  const { message } = error as MoietyError;
  expect(message).toMatch(/^[^\n]+$/);
  return message;
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
  it("writes settings, records and report, and tells its figures", async () => {
    const out = join(folder, "deep", "run");
    const { progress, table, figures } = await run(fake(0), { steps: 10, text: [text], out });
    expect(progress).toMatch(/^backend cpu\ntext: /);
    expect(progress).toContain("step 10/10");
    expect(readdirSync(out).sort()).toEqual(["metrics.jsonl", "report.html", "run.json"]);
    expect(readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(30);
    expect(table).toContain("overall");
    expect(figures).toMatchObject({ folder: out, report: join(out, "report.html"), stepsDone: 10 });
  });

  it("is named by its date where no folder is given, never the same twice", async () => {
    await run(fake(0), { text: [text] });
    await run(fake(0), { text: [text] });
    expect(readdirSync(join(folder, "runs")).sort()).toEqual([
      "2026-11-22-09.05.07",
      "2026-11-22-09.05.07-2",
    ]);
  });

  it("saves the number of steps that the clock fixed", async () => {
    const out = join(folder, "run");
    await run(fake(0), { minutes: 1, text: [text], out });
    const settings: unknown = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(settings).toMatchObject({ minutes: 1, steps: 10 });
  });

  it("ends with what went wrong in the experiment", async () => {
    const failing: Experiment = async (context) => {
      context.begin(10, 0);
      throw new NumericError("step 3: the loss is not finite");
    };
    const message = await refusal(failing, { text: [text], out: join(folder, "run") });
    expect(message).toBe("step 3: the loss is not finite");
  });
});

describe("bad input", () => {
  it.each<[TrainOptions, RegExp]>([
    [{ topK: 17 }, /--top-k 17 is above --experts 16 of preset anchor/],
    [{ topK: 9, preset: "small" }, /--top-k 9 is above --experts 8/],
    [{ steps: 3, minutes: 1 }, /give one of them/],
    [{ text: ["/nowhere/a.txt"] }, /there is no such file/],
    [{ resume: "/nowhere" }, /there is no such folder/],
    [{ router: "softRouter" }, /--router softRouter does not train here: it has no rule/],
    [
      { router: "dogeRouter", experts: 8 },
      /--router dogeRouter .*experts is 8, but must be a square/,
    ],
    [{ router: "baseRouter", experts: 7 }, /tokens to 7 experts is not possible/],
    [{ router: "cosineRouter", balance: "bias" }, /cosineRouter does not have/],
    [{ balance: "loadCv" }, /loadCv has no gradient with these routings/],
    [{ router: "never" }, /router never is not in the catalogue/],
  ])("%j is refused on one line, and leaves nothing behind", async (options, message) => {
    expect(await refusal(never, options)).toMatch(message);
    expect(readdirSync(folder)).toEqual(["text.txt"]);
  });

  it("an empty or a short text leaves no folder", async () => {
    const empty = join(folder, "empty.txt");
    writeFileSync(empty, "");
    const out = join(folder, "run");
    expect(await refusal(never, { text: [empty], out })).toContain("is empty");
    expect(existsSync(out)).toBe(false);
  });

  it("a folder that cannot be made", async () => {
    const message = await refusal(never, { text: [text], out: join(text, "run") });
    expect(message).toMatch(/^--out .*text\.txt\/run cannot be written/);
  });

  it("a folder that is a file", async () => {
    const message = await refusal(never, { text: [text], out: text });
    expect(message).toMatch(/^--out .*text\.txt cannot be written/);
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
    expect(await refusal(never, { text: [text], out })).toContain(`already holds a run (${part})`);
    expect(readdirSync(out)).toEqual([part]);
    expect(readFileSync(join(out, part), "utf8")).toBe("precious");
  });

  it("a folder without a run to resume", async () => {
    const message = await refusal(never, { resume: folder });
    expect(message).toContain("holds no run (run.json is missing)");
  });
});

describe("a resumed run", () => {
  async function stopped(): Promise<string> {
    const out = join(folder, "run");
    const options = { steps: 10, seed: 5, text: [text], out, stopAfter: 4 };
    const { figures } = await run(fake(0), options);
    expect(figures).toMatchObject({ ending: "stopped", steps: 10, stepsDone: 4 });
    return out;
  }

  it("keeps its settings and continues its records", async () => {
    const out = await stopped();
    const seen: ExperimentContext[] = [];
    const { progress } = await run(fake(4, seen), { resume: out, seed: 5 });
    expect(progress).toContain("going on after step 4 of 10");
    expect(seen[0]?.settings).toMatchObject({ seed: 5, steps: 10, text: [text] });
    const lines = readFileSync(join(out, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    const { records } = syntheticRun({ steps: 10, titles: ["text"] });
    expect(lines.map((line): unknown => JSON.parse(line))).toEqual(records);
  });

  it("refuses another seed", async () => {
    const message = await refusal(never, { resume: await stopped(), seed: 6 });
    expect(message).toContain("--seed 6 does not fit the run");
  });

  it("refuses a stop that it has passed, and leaves the records", async () => {
    const out = await stopped();
    const before = readFileSync(join(out, "metrics.jsonl"), "utf8");
    const message = await refusal(fake(4), { resume: out, stopAfter: 3 });
    expect(message).toContain("has done 4 steps already");
    expect(readFileSync(join(out, "metrics.jsonl"), "utf8")).toBe(before);
  });

  it("refuses a text that has changed", async () => {
    const out = await stopped();
    writeFileSync(text, "other words of text, ".repeat(400));
    const message = await refusal(never, { resume: out });
    expect(message).toContain("the text is not the one that the run began with");
  });
});

import {
  type Profile,
  type Report,
  PROFILES,
  allCases,
  conform,
  reportToBadge,
  reportToJUnit,
  reportToJson,
  selectCases,
  smallestProfile,
  summarize,
} from "@moiety/conformance";
import { Command, Option } from "commander";
import { builtInNames } from "../backends.ts";
import { catalogueCases } from "../conform/catalogue/index.ts";
import { findBackend } from "../conform/backend-module.ts";
import { environmentFacts } from "../conform/environment.ts";
import { readExpectedFailures } from "../conform/expected-failures.ts";
import { ProgressView } from "../conform/progress.ts";
import { type ResultFile, openResultFile } from "../conform/result-file.ts";
import type { Output } from "../output.ts";
import type { Surroundings } from "../surroundings.ts";

interface Options {
  readonly backend: string;
  readonly profile: Profile;
  readonly case?: readonly string[];
  readonly seed: number;
  readonly timeout: number;
  readonly xfail?: string;
  readonly json?: string;
  readonly junit?: string;
  readonly badge?: string;
  readonly list?: boolean;
}

/** The forms in which a report is written to a file, by the option that asks for it. */
const WRITERS: Readonly<Record<"json" | "junit" | "badge", (report: Report) => string>> = {
  json: (report) => `${reportToJson(report, 1)}\n`,
  junit: reportToJUnit,
  badge: reportToBadge,
};

const EXAMPLES = `
Examples:
  moiety conform --backend webgpu
  moiety conform --backend ./my-backend.js --profile training --json report.json
  moiety conform --backend wasm --case L3/`;

interface Writable {
  readonly file: ResultFile;
  readonly text: (report: Report) => string;
}

/** `moiety conform`: holds a backend to the conformance kit. */
export function conformCommand(
  output: Output,
  { status, calledAs = "moiety conform" }: Pick<Surroundings, "status" | "calledAs">,
): Command {
  const gather = (id: string, before: readonly string[] = []): readonly string[] => [...before, id];
  return new Command("conform")
    .description(
      "hold a backend to the conformance kit, and to every router, bank and loss of the libraries; " +
        "exits with 0 only for a pass",
    )
    .option(
      "--backend <name>",
      `${builtInNames.join(", ")}, the path of a module, or a package`,
      "cpu",
    )
    .addOption(
      new Option("--profile <profile>", "what is demanded").choices(PROFILES).default("inference"),
    )
    .option("--case <id>", "only this case, or those that begin so; may be repeated", gather)
    .option("--seed <number>", "of every random value", Number, 0x5eed)
    .option("--timeout <ms>", "for one case", Number, 60_000)
    .option("--xfail <file>", "JSON list of { id, reason, link }: cases that are known to fail")
    .option("--json <file>", "also write the report as JSON")
    .option("--junit <file>", "also write the report as JUnit XML")
    .option("--badge <file>", "also write a badge as Markdown")
    .option("--list", "only list the cases")
    .addHelpText("after", EXAMPLES)
    .action(async (options: Options) => {
      if (options.list) for (const line of listCases(options)) output.line(line);
      else await runKit(options, output, new ProgressView(status), calledAs);
    });
}

function listCases({ profile, case: asked }: Options): string[] {
  return selectCases([...allCases, ...catalogueCases], profile, asked).map((one) => {
    const kind = one.extension === undefined ? smallestProfile(one) : one.extension;
    return `${one.id}  [${kind}]  ${one.demand}`;
  });
}

async function runKit(
  options: Options,
  output: Output,
  progress: ProgressView,
  calledAs: string,
): Promise<void> {
  const { backend, profile, case: cases, seed, timeout } = options;
  const source = await findBackend(backend);
  const xfail = options.xfail === undefined ? [] : await readExpectedFailures(options.xfail);
  const files: Writable[] = [];
  try {
    await openFiles(options, files);
    const report = await conform({
      createBackend: () => source.createBackend(),
      loseDevice: source.loseDevice,
      backendVersion: source.version,
      expected: source.expected,
      profile,
      extra: catalogueCases,
      cases,
      seed,
      timeout,
      xfail,
      requireDevice: process.env["MOIETY_REQUIRE_WEBGPU"] === "1",
      env: environmentFacts(),
      repro: (id) => `${calledAs} ${reproWords(options, id)}`,
      onProgress: (at) => progress.show(at),
    });
    progress.end();
    output.line(summarize(report));
    for (const { file, text } of files) await file.write(text(report));
    if (report.verdict !== "pass") output.exit(1);
  } finally {
    for (const { file } of files) await file.abandon();
  }
}

/** The words of a command line that runs exactly one case again. */
function reproWords({ backend, profile, seed }: Options, id: string): string {
  const shown = /^[\w@./:+-]+$/.test(backend) ? backend : `'${backend.replaceAll("'", "'\\''")}'`;
  return `--backend ${shown} --profile ${profile} --case '${id}' --seed ${seed}`;
}

/** Opens what was asked for, so that nobody waits for a run whose report has no place. */
async function openFiles(options: Options, files: Writable[]): Promise<void> {
  for (const [option, text] of Object.entries(WRITERS)) {
    const path = options[option as keyof typeof WRITERS];
    if (path !== undefined) files.push({ file: await openResultFile(path, option), text });
  }
}

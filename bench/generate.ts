// `npm run bench -- generate`: prefill and decode of a model in OLMoE's shapes on the CPU, in
// WebAssembly, and beside it llama.cpp. See README.md.
import { formats } from "./src/generate/formats.ts";
import { type Plan, measure } from "./src/generate/measure.ts";
import { type RestFormat, restFormats } from "./src/generate/olmoe.ts";
import type { Options } from "./src/options.ts";
import { ownVersion, passedOn, runMeasuring, threadCounts } from "./src/processes.ts";

/** The version that the goals are for. */
const VERSION = 24;
const GIVEN = {
  values: ["layers", "samples", "prompts", "formats", "rest"],
  switches: ["no-peers"],
} as const;

await runMeasuring({
  options: { values: ["json", "threads", ...GIVEN.values], switches: GIVEN.switches },
  hidden: [
    "node",
    "threads",
    "operations",
    "bytes",
    "peakGflops",
    "peakByteGops",
    "peakGBs",
    "rounded",
  ],
  processes(options) {
    planOf(options);
    const parameters = passedOn(options, GIVEN);
    return threadCounts(options).map((threads) => ({ version: VERSION, threads, parameters }));
  },
  measure: (options) => measure(planOf(options), ownVersion),
});

function planOf(options: Options): Plan {
  const [rest = "same", ...more] = wordsOf<RestFormat>(options, "rest", restFormats, ["same"]);
  if (more.length > 0) throw new Error(`--rest takes one of ${restFormats.join(", ")}`);
  return {
    threads: options.numbers("threads", [1])[0] ?? 1,
    layers: options.number("layers", 2),
    samples: options.number("samples", 7),
    prompts: options.numbers("prompts", [128, 512]),
    formats: wordsOf(options, "formats", formats, formats),
    rest,
    peers: !options.has("no-peers"),
  };
}

/** Words of an option, with commas between. @throws Error for others than the known */
function wordsOf<Word extends string>(
  options: Options,
  name: string,
  known: readonly Word[],
  otherwise: readonly Word[],
): readonly Word[] {
  const given = options.text(name)?.split(",") ?? otherwise;
  const unknown = given.find((word) => !known.includes(word as Word));
  if (unknown === undefined) return given as readonly Word[];
  throw new Error(`--${name} takes ${known.join(", ")}, not "${unknown}"`);
}

// `npm run bench -- moe`: MoE layers on the CPU, in WebAssembly, and beside them onnxruntime's native
// and WebAssembly builds. See README.md.
import { type Part, type Plan, measure, parts } from "./src/moe/measure.ts";
import type { Options } from "./src/options.ts";
import { ownVersion, passedOn, runMeasuring, threadCounts } from "./src/processes.ts";

/** The version that the goals are for, and the oldest that is supported. */
const VERSIONS = [24, 20] as const;
const FEWER_PARTS: readonly Part[] = ["products", "layers", "training"];

await runMeasuring({
  options: {
    values: ["json", "threads", "tokens", "samples", "parts", "node"],
    switches: ["no-peers", "short"],
  },
  hidden: [
    "note",
    "exact",
    "node",
    "threads",
    "error",
    "peerError",
    "operations",
    "bytes",
    "peakGflops",
    "peakByteGops",
    "peakGBs",
    "rowsPerExpert",
  ],
  processes(options) {
    planOf(options);
    return options.numbers("node", VERSIONS).flatMap((version) =>
      threadCounts(options).map((threads) => ({
        version,
        threads,
        parameters: parametersFor(options, version),
      })),
    );
  },
  measure: (options) => measure(planOf(options), ownVersion),
});

/** Under an older version only what the goals are for is measured, unless parts are named. */
function parametersFor(options: Options, version: number): string[] {
  const given = passedOn(options, {
    values: ["tokens", "samples", "parts"],
    switches: ["no-peers", "short"],
  });
  if (version === VERSIONS[0]) return given;
  return [
    ...given,
    ...(options.text("parts") === undefined ? ["--parts", FEWER_PARTS.join()] : []),
    ...(options.has("short") ? [] : ["--short"]),
  ];
}

function planOf(options: Options): Plan {
  const named = options.text("parts")?.split(",") ?? parts;
  const unknown = named.find((name) => !parts.includes(name as Part));
  if (unknown !== undefined) throw new Error(`--parts takes ${parts.join(", ")}, not "${unknown}"`);
  return {
    threads: options.numbers("threads", [1])[0] ?? 1,
    samples: options.number("samples", 7),
    tokenCounts: options.numbers("tokens", [1, 128, 512]),
    parts: parts.filter((part) => named.includes(part)),
    peers: !options.has("no-peers"),
    short: options.has("short"),
  };
}

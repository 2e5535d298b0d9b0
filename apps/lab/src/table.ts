import { bits, duration, percent, signedBits, size } from "./format.ts";
import type { LoadStatistics } from "./loads.ts";
import type { ExperimentResult, ModelName } from "./result.ts";
import { causalSentence, routerSentence, verdictSentence } from "./sentences.ts";
import type { Comparison } from "./statistics.ts";
import { type PairSummary, type Summary, verdictWords } from "./summary.ts";
import { columns } from "./text-columns.ts";
import { modelNames } from "./twins.ts";

/** The final table, for a terminal. */
export function resultTable(result: ExperimentResult, summary: Summary | null): string {
  const parts = [settingLines(result), verdictSentence(result, summary)];
  if (summary !== null) {
    const rule = causalSentence(result);
    parts.push(routerSentence(result, summary), ...(rule === undefined ? [] : [rule]));
    parts.push(comparisonTables(summary), loadTable(result, summary));
  }
  parts.push(sizeTable(result, summary));
  if (result.notes.length > 0) parts.push(result.notes.map((note) => `Note: ${note}`).join("\n"));
  return `${parts.join("\n\n")}\n`;
}

function settingLines(result: ExperimentResult): string {
  const { settings } = result;
  const { model, training } = settings;
  return [
    `Preset ${settings.preset}: ${model.numHiddenLayers} layers, hidden size ` +
      `${model.hiddenSize}, ${model.numExperts} experts of width ${model.intermediateSize} with ` +
      `${model.numExpertsPerTok} for each token, against one dense expert of width ` +
      `${model.intermediateSize * model.numExpertsPerTok}, and against the same experts routed by ` +
      "a fixed hash of the byte",
    `Router ${settings.router}, balance ${settings.balance}`,
    `${result.stepsDone} of ${result.steps} steps of ${training.batchSize} x ` +
      `${training.sequenceLength} bytes in ${duration(result.seconds)}, seed ${settings.seed}, ` +
      `backend ${result.worker}; text: ${result.textSource}`,
  ].join("\n");
}

function comparisonTables(summary: Summary): string {
  const { dense, hash, hashDense } = summary;
  const each = dense.domains[0]?.comparison.sequences ?? 0;
  return [
    pairTable(dense),
    pairTable(hash),
    `${pairTable({ ...hashDense, domains: [] })}\nPaired Student's t intervals over ` +
      `${dense.overall.sequences} held-out sequences (${each} for each domain) of these models; ` +
      "another seed would train others.",
  ].join("\n\n");
}

function pairTable(pair: PairSummary): string {
  const { first, second, overall, domains } = pair;
  const row = (name: string, found: Comparison): readonly string[] => [
    name,
    bits(found.first),
    bits(found.second),
    signedBits(found.difference),
    `${signedBits(found.low)} to ${signedBits(found.high)}`,
    verdictWords(pair, found.verdict),
  ];
  return columns(
    [
      ["held-out bits/byte", first, second, `${first} - ${second}`, "95 % interval", ""],
      row("overall", overall),
      ...domains.map(({ domain, comparison }) => row(`  ${domain.title}`, comparison)),
    ],
    ["left", "right", "right", "right", "right", "left"],
  );
}

function loadTable(result: ExperimentResult, summary: Summary): string {
  const row = (name: ModelName, load: LoadStatistics, layer: number): readonly string[] => [
    `  ${name}, layer ${layer}`,
    load.imbalance.toFixed(2),
    String(load.dead.length),
    String(load.starved.length),
    load.evenness.toFixed(2),
    `${load.busiest.expert} (${percent(load.busiest.share)})`,
    `${load.idlest.expert} (${percent(load.idlest.share)})`,
  ];
  const table = columns(
    [
      ["expert load, held out", "max/mean", "dead", "below 1/10", "evenness", "busiest", "idlest"],
      ...summary.layers.map(({ load }, layer) => row("sparse", load, layer)),
      ...summary.hashLoads.map((load, layer) => row("hash", load, layer)),
    ],
    ["left", "right", "right", "right", "right", "right", "right"],
  );
  return (
    `${table}\nOf ${result.settings.model.numExperts} experts; below 1/10: of an even share, dead ` +
    "ones among them; evenness: entropy, 1 is even."
  );
}

function sizeTable({ models }: ExperimentResult, summary: Summary | null): string {
  const row = (name: string, show: (model: ModelName) => string): readonly string[] => [
    `  ${name}`,
    ...modelNames.map(show),
  ];
  return columns(
    [
      ["size and speed", ...modelNames],
      row("parameters", (model) => size(models[model].parameters)),
      row("active for one token", (model) => size(models[model].activeParameters)),
      row("FLOPs for one token, forward", (model) => size(models[model].flopsPerToken)),
      ...(summary === null
        ? []
        : [
            row("experts for one token, held out", (model) => summary.expertsMet[model].toFixed(2)),
          ]),
      row("training tokens/s", (model) => size(models[model].tokensPerSecond)),
    ],
    ["left", ...modelNames.map(() => "right" as const)],
  );
}

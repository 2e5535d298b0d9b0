import { bits, duration, percent, signedBits, size } from "./format.ts";
import type { ExperimentResult, ModelName } from "./result.ts";
import { verdictSentence } from "./sentences.ts";
import type { Comparison } from "./statistics.ts";
import type { Summary } from "./summary.ts";
import { columns } from "./text-columns.ts";

/** The final table, for a terminal. */
export function resultTable(result: ExperimentResult, summary: Summary | null): string {
  const parts = [settingLines(result), verdictSentence(result, summary)];
  if (summary !== null) parts.push(comparisonTable(summary), loadTable(result, summary));
  parts.push(sizeTable(result));
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
      `${model.intermediateSize * model.numExpertsPerTok}; balance ${settings.balance}`,
    `${result.stepsDone} of ${result.steps} steps of ${training.batchSize} x ` +
      `${training.sequenceLength} bytes in ${duration(result.seconds)}, seed ${settings.seed}, ` +
      `backend ${settings.backend}; text: ${result.textSource}`,
  ].join("\n");
}

function comparisonTable(summary: Summary): string {
  const row = (name: string, found: Comparison): readonly string[] => [
    name,
    bits(found.sparse),
    bits(found.dense),
    signedBits(found.difference),
    `${signedBits(found.low)} to ${signedBits(found.high)}`,
    found.verdict,
  ];
  const table = columns(
    [
      ["held-out bits/byte", "sparse", "dense", "sparse - dense", "95 % interval", ""],
      row("overall", summary.overall),
      ...summary.domains.map(({ domain, comparison }) => row(`  ${domain.title}`, comparison)),
    ],
    ["left", "right", "right", "right", "right", "left"],
  );
  const each = summary.domains[0]?.comparison.sequences ?? 0;
  return (
    `${table}\nPaired Student's t interval over ${summary.overall.sequences} held-out sequences ` +
    `(${each} for each domain) of these two models; another seed would train two others.`
  );
}

function loadTable(result: ExperimentResult, summary: Summary): string {
  const table = columns(
    [
      ["expert load, held out", "max/mean", "dead", "below 1/10", "evenness", "busiest", "idlest"],
      ...summary.layers.map(({ load }, layer) => [
        `  layer ${layer}`,
        load.imbalance.toFixed(2),
        String(load.dead.length),
        String(load.starved.length),
        load.evenness.toFixed(2),
        `${load.busiest.expert} (${percent(load.busiest.share)})`,
        `${load.idlest.expert} (${percent(load.idlest.share)})`,
      ]),
    ],
    ["left", "right", "right", "right", "right", "right", "right"],
  );
  return (
    `${table}\nOf ${result.settings.model.numExperts} experts; below 1/10: of an even share, dead ` +
    "ones among them; evenness: entropy, 1 is even."
  );
}

function sizeTable(result: ExperimentResult): string {
  const { sparse, dense } = result.models;
  const row = (name: string, show: (model: ModelName) => string): readonly string[] => [
    name,
    show("sparse"),
    show("dense"),
  ];
  return columns(
    [
      ["size and speed", "sparse", "dense"],
      row("  parameters", (model) => size(result.models[model].parameters)),
      row("  active for one token", (model) => size(result.models[model].activeParameters)),
      row("  FLOPs for one token, forward", (model) => size(result.models[model].flopsPerToken)),
      ["  training tokens/s", size(sparse.tokensPerSecond), size(dense.tokensPerSecond)],
    ],
    ["left", "right", "right"],
  );
}

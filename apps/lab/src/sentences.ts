import { bits, percent, signedBits, size } from "./format.ts";
import type { ExperimentResult } from "./result.ts";
import type { Summary } from "./summary.ts";

/** Bytes of text that each model saw in training. */
export function bytesSeen(result: ExperimentResult): number {
  const { batchSize, sequenceLength } = result.settings.training;
  return result.stepsDone * batchSize * sequenceLength;
}

/** Does sparsity pay? One sentence, honest where nothing is resolved. */
export function verdictSentence(result: ExperimentResult, summary: Summary | null): string {
  const seen = `${result.stepsDone} steps (${size(bytesSeen(result))} bytes)`;
  if (summary === null) {
    return `The run was interrupted after ${seen} of ${result.steps} steps, before its comparison.`;
  }
  const { overall } = summary;
  const interval = `95 % interval ${signedBits(overall.low)} to ${signedBits(overall.high)}`;
  const over = `over ${overall.sequences} held-out sequences`;
  if (overall.verdict === "not resolved") {
    return (
      `Not resolved: after ${seen} the sparse model stands at ${bits(overall.sparse)} and the ` +
      `dense one at ${bits(overall.dense)} bits/byte, but the interval of the difference ` +
      `contains 0 (${interval}, ${over}).`
    );
  }
  const better = overall.verdict === "sparse better";
  const share = percent(Math.abs(overall.difference) / overall.dense);
  return (
    `Sparsity ${better ? "pays" : "does not pay here"}: after ${seen} the sparse model needs ` +
    `${bits(Math.abs(overall.difference))} bits/byte ${better ? "less" : "more"} than the dense ` +
    `one of equal active size, ${share} of its ${bits(overall.dense)} (${interval}, ${over}).`
  );
}

/** Are the experts used evenly? One sentence for each layer. */
export function loadSentence(summary: Summary, layer: number): string {
  const load = summary.layers[layer]?.load;
  if (load === undefined) return "";
  const count = load.shares.length;
  const dead = load.dead.length === 0 ? "none is dead" : `${list(load.dead)} dead`;
  const starved = load.starved.filter((expert) => !load.dead.includes(expert));
  const hungry = starved.length === 0 ? "" : `, ${list(starved)} below a tenth of an even share`;
  return (
    `Layer ${layer}: of ${count} experts, the busiest (${load.busiest.expert}) takes ` +
    `${percent(load.busiest.share)} of the assignments, ${load.imbalance.toFixed(1)} times an ` +
    `even share; ${dead}${hungry}.`
  );
}

/** What the chosen balance means for what the reader sees. */
export function balanceSentence(result: ExperimentResult, summary: Summary | null): string {
  const { balance, model } = result.settings;
  if (balance === "switch") {
    return (
      `An auxiliary loss of weight ${model.routerAuxLossCoef} pulls the load towards even. ` +
      "It may cost a little of the loss that is compared above."
    );
  }
  if (balance === "bias") {
    return (
      `No loss balances the load: after every step a selection bias moves by ` +
      `${model.biasUpdateRate} towards the experts that got too little. It changes who is ` +
      "chosen, not how the chosen are weighted."
    );
  }
  const intro =
    "Nothing balances the load in this run. A router that prefers an expert early trains it more " +
    "and prefers it the more for it, so load concentrates and other experts starve.";
  if (summary === null) return intro;
  const layers = summary.layers.map(({ load }) => load);
  const experts = layers.reduce((total, load) => total + load.shares.length, 0);
  const dead = layers.reduce((total, load) => total + load.dead.length, 0);
  const starved = layers.reduce((total, load) => total + load.starved.length, 0);
  const found =
    starved === 0
      ? `Here none of the ${experts} experts fell below a tenth of an even share.`
      : `Here ${starved} of ${experts} experts ended below a tenth of an even share, ` +
        `${dead === 0 ? "none of them" : dead} without any token at all.`;
  return `${intro} ${found}`;
}

/** Which expert speaks which language? What stands out in one layer. */
export function specialisationSentence(
  result: ExperimentResult,
  summary: Summary,
  layer: number,
): string {
  const found = summary.layers[layer]?.specialisation;
  if (found === undefined) return "";
  const told =
    found.ceiling === 0
      ? ""
      : `An expert's number tells ${found.information.toFixed(2)} of at most ` +
        `${found.ceiling.toFixed(2)} bits about the domain.`;
  const favourites = found.favourites.slice(0, 3).map(({ domain, expert, share, multiple }) => {
    const title = result.domains[domain]?.title ?? "";
    return `expert ${expert} gets ${percent(share)} of ${title}, ${multiple.toFixed(1)} times its usual share`;
  });
  if (favourites.length === 0) return `No expert clearly prefers a domain. ${told}`.trim();
  return `What stands out: ${favourites.join("; ")}. ${told}`.trim();
}

function list(experts: readonly number[]): string {
  if (experts.length > 6) return `${experts.length} experts are`;
  return experts.length === 1 ? `expert ${experts[0]} is` : `experts ${experts.join(", ")} are`;
}

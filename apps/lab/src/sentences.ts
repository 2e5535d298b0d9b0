import { balanceOf } from "./balances.ts";
import { bits, percent, signedBits, size } from "./format.ts";
import type { ExperimentResult } from "./result.ts";
import { causalRule, evenReason, routerOf } from "./routers.ts";
import type { Comparison } from "./statistics.ts";
import type { Summary } from "./summary.ts";

/** Bytes of text that each model saw in training. */
export function bytesSeen(result: ExperimentResult): number {
  const { batchSize, sequenceLength } = result.settings.training;
  return result.stepsDone * batchSize * sequenceLength;
}

/** Does sparsity pay? One sentence, honest where nothing is resolved. */
export function verdictSentence(result: ExperimentResult, summary: Summary | null): string {
  const seen = seenBytes(result);
  if (summary === null) {
    return `The run was interrupted after ${seen} of ${result.steps} steps, before its comparison.`;
  }
  const { overall } = summary.dense;
  const [interval, over] = intervalWords(overall);
  if (overall.verdict === "not resolved") {
    return (
      `Not resolved: after ${seen} the sparse model stands at ${bits(overall.first)} and the ` +
      `dense one at ${bits(overall.second)} bits/byte, but the interval of the difference ` +
      `contains 0 (${interval}, ${over}).`
    );
  }
  const better = overall.verdict === "first better";
  const share = percent(Math.abs(overall.difference) / overall.second);
  return (
    `Sparsity ${better ? "pays" : "does not pay here"}: after ${seen} the sparse model needs ` +
    `${bits(Math.abs(overall.difference))} bits/byte ${better ? "less" : "more"} than the dense ` +
    `one of equal active size, ${share} of its ${bits(overall.second)} (${interval}, ${over}).`
  );
}

/** Does the router pay? One sentence about the sparse model and its twin that is routed by a hash. */
export function routerSentence(result: ExperimentResult, summary: Summary): string {
  const { router } = result.settings;
  const { overall } = summary.hash;
  const [interval] = intervalWords(overall);
  const twin = "the same experts routed by a fixed hash of the byte";
  if (overall.verdict === "not resolved") {
    return (
      `Whether ${router} pays is not resolved: ${twin} stand at ${bits(overall.second)} bits/byte, ` +
      `and the interval of the difference contains 0 (${interval}).`
    );
  }
  const better = overall.verdict === "first better";
  const share = percent(Math.abs(overall.difference) / overall.second);
  return (
    `${router} ${better ? "pays" : "does not pay here"}: it needs ` +
    `${bits(Math.abs(overall.difference))} bits/byte ${better ? "less" : "more"} than ${twin}, ` +
    `${share} of their ${bits(overall.second)} (${interval}).`
  );
}

/** By which rule the sparse model was evaluated, where training lets tokens look at each other. */
export function causalSentence({ settings }: ExperimentResult): string | undefined {
  const entry = routerOf(settings.router);
  if (!entry.acrossTokens) return undefined;
  return (
    `In training, tokens look at each other in ${entry.name}, which would leak the future. So the ` +
    `sparse model is evaluated by a causal rule (${entry.causal.rule}): it routes ${causalRule(entry)}.`
  );
}

function seenBytes(result: ExperimentResult): string {
  return `${result.stepsDone} steps (${size(bytesSeen(result))} bytes)`;
}

function intervalWords({ low, high, sequences }: Comparison): readonly [string, string] {
  return [
    `95 % interval ${signedBits(low)} to ${signedBits(high)}`,
    `over ${sequences} held-out sequences`,
  ];
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
  const { router, model } = result.settings;
  const balance = balanceOf(result.settings.balance);
  if (balance.losses) {
    return (
      `An auxiliary loss of weight ${model.routerAuxLossCoef} (${balance.name}: ${balance.summary}) ` +
      "acts on the routers. It may cost a little of the loss that is compared above."
    );
  }
  if (balance.control === "bias") {
    return (
      `No loss balances the load: after every step a selection bias moves by ` +
      `${model.biasUpdateRate} towards the experts that got too little. It changes who is ` +
      "chosen, not how the chosen are weighted."
    );
  }
  if (balance.control === "quantile") {
    return (
      "No loss balances the load: after every step a selection bias is set to what would have " +
      "evened the load of that step. It changes who is chosen, not how the chosen are weighted."
    );
  }
  const even = evenReason(router);
  const intro =
    even === undefined
      ? "Nothing balances the load in this run. A router that prefers an expert early trains it " +
        "more and prefers it the more for it, so load concentrates and other experts starve."
      : `Nothing balances the load in this run: of ${router}, ${even}.`;
  if (summary === null) return intro;
  return `${intro} ${starvedWords(summary)}`;
}

function starvedWords(summary: Summary): string {
  const layers = summary.layers.map(({ load }) => load);
  const experts = layers.reduce((total, load) => total + load.shares.length, 0);
  const dead = layers.reduce((total, load) => total + load.dead.length, 0);
  const starved = layers.reduce((total, load) => total + load.starved.length, 0);
  return starved === 0
    ? `Here none of the ${experts} experts fell below a tenth of an even share.`
    : `Here ${starved} of ${experts} experts ended below a tenth of an even share, ` +
        `${dead === 0 ? "none of them" : dead} without any token at all.`;
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

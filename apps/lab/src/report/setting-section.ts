import { type Markup, html } from "@moiety/models/markup";
import { balanceOf } from "../balances.ts";
import { duration, percent, size } from "../format.ts";
import type { ExperimentResult } from "../result.ts";
import { causalRule, routerOf, routerSummary } from "../routers.ts";
import { bytesSeen } from "../sentences.ts";

/** All that decided the run's numbers. */
export function settingSection(result: ExperimentResult): Markup {
  return html`<section id="setting">
    <h2>The setting</h2>
    <dl class="settings">
      ${settingRows(result).map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd> `,
      )}
    </dl>
    ${result.notes.map((note) => html`<p>${note}</p>`)}
  </section>`;
}

function settingRows(result: ExperimentResult): readonly (readonly [string, string])[] {
  const { settings } = result;
  const { model, training, evaluation } = settings;
  const router = routerOf(settings.router);
  const balance = balanceOf(settings.balance);
  const bytes = result.domains.reduce((sum, domain) => sum + domain.trainingBytes, 0);
  const heldOut = result.domains.reduce((sum, domain) => sum + domain.heldOutBytes, 0);
  const wide = model.intermediateSize * model.numExpertsPerTok;
  const timed =
    settings.minutes === null
      ? ""
      : `; their number was fixed from the first steps, to fill ${settings.minutes} minutes`;
  return [
    ["text", result.textSource],
    [
      "domains",
      `${result.domains.length}, drawn equally often; ${size(bytes)} bytes for training, ` +
        `${size(heldOut)} (the last 5 % of each) held out`,
    ],
    [
      "all models",
      `decoder on bytes (vocabulary ${model.vocabSize}), ${model.numHiddenLayers} layers, hidden ` +
        `size ${model.hiddenSize}, ${model.numAttentionHeads} heads, OLMoE architecture`,
    ],
    [
      "sparse",
      `${model.numExperts} experts of width ${model.intermediateSize} in each layer, ` +
        `${model.numExpertsPerTok} for each token`,
    ],
    ["dense", `one expert of width ${wide}: equal active parameters`],
    [
      "hash",
      "the sparse model with the same first weights, but each byte has its experts by a fixed table",
    ],
    ["router", `${router.name}: ${routerSummary(router)}; ${router.formula} (${router.source})`],
    [
      "evaluated",
      router.acrossTokens
        ? `${causalRule(router)}, since tokens look at each other in training`
        : causalRule(router),
    ],
    ["balance", `${balance.name}: ${balance.summary}`],
    ["schedule", `${result.stepsDone} of ${result.steps} steps done${timed}`],
    [
      "batch",
      `${training.batchSize} sequences of ${training.sequenceLength} bytes, the same for all ` +
        `models; ${size(bytesSeen(result))} bytes seen`,
    ],
    [
      "optimizer",
      `AdamW, rate ${training.peakLearningRate} after ${training.warmupSteps} steps of warm-up, ` +
        `cosine to ${percent(training.finalLearningRate)}, betas ${training.beta1} and ` +
        `${training.beta2}, weight decay ${training.weightDecay}, gradient norm at most ` +
        `${training.clipNorm}`,
    ],
    [
      "comparison",
      `${result.windowDomains.length} held-out sequences of ${training.sequenceLength} bytes, ` +
        `equally many from each domain, none overlapping; evaluations before the last use ` +
        `${percent(evaluation.partOfWindows)} of them`,
    ],
    ["training time", `${duration(result.seconds)} for all models`],
    ["backend", result.worker],
    ["seed", String(settings.seed)],
    ["preset", settings.preset],
  ];
}

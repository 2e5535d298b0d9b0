/**
 * @typedef {import("@moiety/models").ConfiguredBlock} Block
 * @typedef {Block["moe"]} Moe
 * @typedef {NonNullable<Block["spec"]>} Spec
 * @typedef {NonNullable<Moe["around"]>[number]} Wrapping
 */

/** What stands above the columns of {@link cellsOf}. */
export const header = [
  "score",
  "chosen by",
  "renormalised",
  "scale",
  "shared expert",
  "experts",
  "losses",
];

/**
 * What a block is, a cell for each column.
 *
 * @param {Block} block
 * @returns {string[]}
 */
export function cellsOf({ spec, moe, losses }) {
  return [
    spec ? scoreOf(spec, moe) : "",
    presetOf(moe) + (spec ? choiceOf(spec) : ""),
    spec ? normOf(spec) : "",
    scaleOf(spec, moe),
    sharedOf(moe),
    expertsOf(moe),
    losses.map(({ name, coefficient }) => `${name} · ${coefficient}`).join("<br>") || "–",
  ];
}

/** @type {Readonly<Record<Spec["score"], string>>} */
const scores = {
  identity: "logits",
  sigmoid: "sigmoid",
  softmax: "softmax",
  sqrtSoftplus: "√softplus",
};

/**
 * @param {Spec} spec
 * @param {Moe} moe
 */
function scoreOf(spec, { router }) {
  const cap = "logitSoftcap" in router ? (router.logitSoftcap ?? spec.softcap) : spec.softcap;
  const own = scores[spec.score];
  return `${cap === undefined ? "" : `${cap}·tanh(l/${cap}), `}${own}`;
}

/**
 * What stands before the choice of routers that are more than stages behind a linear gate.
 *
 * @param {Moe} moe
 */
function presetOf({ router: { kind } }) {
  return kind === undefined || kind === "staged" ? "" : `${kind}: `;
}

/** @param {Spec} spec */
function choiceOf({ selectBy, bias, groups, topK }) {
  const compared = selectBy === "logits" ? "logits" : "scores";
  const biased = bias ? `${compared} + bias` : compared;
  if (groups === undefined) return `${biased}, k = ${topK}`;
  const score = groups.score === "max" ? "their best" : `their ${groups.score.top} best`;
  const fill = groups.fill === "zero" ? ", 0 outside" : "";
  return `${biased}, k = ${topK} in ${groups.topK} of ${groups.count} groups by ${score}${fill}`;
}

/** @param {Spec} spec */
function normOf({ weight, renormalize }) {
  if (weight === "softmaxOfChosen") return "softmax of the chosen";
  if (weight === "sigmoidOfChosen") return "no (sigmoid of the chosen)";
  if (renormalize === undefined) return "no";
  const { p = 1, epsilon, guard = "add", when } = renormalize;
  const norm = p === 1 ? "Σ" : `${p}-norm`;
  const tiny = epsilon === "machine" ? "ε" : epsilon?.toExponential().replace("e+0", "");
  const guarded = guard === "max" ? `max(${norm}, ${tiny})` : `${norm} + ${tiny}`;
  const whole = tiny === undefined ? norm : guarded;
  return when === "after" ? `${whole}, after dropping` : whole;
}

/**
 * @param {Spec | undefined} spec
 * @param {Moe} moe
 */
function scaleOf(spec, { around = [] }) {
  const factors = around.flatMap((one) => (one.kind === "factor" ? [one.factor] : []));
  const after = factors.map((factor) => `${factor} on outputs`);
  const input = spec?.site === "input" ? ["on inputs"] : [];
  const scale = spec?.scale === undefined || spec.scale === 1 ? [] : [`${spec.scale}`];
  return [...scale, ...after, ...input].join(", ") || "–";
}

/** @type {Readonly<Record<NonNullable<Moe["shared"]>["merge"], string>>} */
const merges = {
  add: "added",
  average: "averaged",
  gate: "behind a sigmoid gate",
  softmax2: "mixed by a softmax of two",
};

/** @param {Moe} moe */
function sharedOf({ shared }) {
  return shared ? merges[shared.merge] : "–";
}

/** @param {Moe} moe */
function expertsOf({ expert, others = [], around = [] }) {
  const kinds = [expert, ...others].map(networkOf);
  return [...new Set(kinds), ...around.flatMap(wrappingOf)].join("; ");
}

/** @param {Moe["expert"]} expert */
function networkOf({ activation, alpha, bias, clamp, gated, layout, transposed, upOffset }) {
  const packing = layout?.packing ?? "concatenated";
  const first = layout?.first ?? "gate";
  return [
    alpha === undefined ? activation : `${activation}(α = ${alpha})`,
    ...(gated ? [`gated, ${packing === "interleaved" ? "interleaved" : `${first} first`}`] : []),
    ...(upOffset === undefined ? [] : [`up + ${upOffset}`]),
    ...(clamp ? [`clamped at ${clamp.limit} ${clamp.when ?? "before"} the activation`] : []),
    ...(bias ? ["biases"] : []),
    transposed ? "[E, in, out]" : "[E, out, in]",
  ].join(", ");
}

/** @param {Wrapping} wrapping */
function wrappingOf(wrapping) {
  switch (wrapping.kind) {
    case "special":
      return wrapping.experts.map(({ kind, count }) => `${count} × ${kind}`);
    case "latent":
      return wrapping.latentSize === undefined ? [] : [`latent, ${wrapping.latentSize} wide`];
    case "scaled":
      return ["a learned scale"];
    case "base":
      return ["the input for what the weights leave of 1"];
    case "outputBias":
      return ["one bias after combining"];
    case "factor":
      return [];
  }
}

import { type Routing, type Tensor, loadOf } from "@moiety/core";

/** What a routing says, by name: choices and weights of its kind, scores, the load, what it carries. */
export function routingValues(routing: Routing): Record<string, Tensor> {
  return {
    logits: routing.logits,
    scores: routing.scores,
    ...choicesOf(routing),
    ...weightsOf(routing),
    ...carriedBy(routing),
    load: loadOf(routing),
  };
}

/** Who takes which token: whole numbers; nothing where all is mixed. */
export function choicesOf(routing: Routing): Record<string, Tensor> {
  switch (routing.kind) {
    case "token-choice": {
      const { selected, indices } = routing;
      return selected === indices ? { selected } : { selected, indices };
    }
    case "expert-choice":
      return { tokens: routing.tokens };
    case "soft":
      return {};
  }
}

/** With what weights. */
export function weightsOf(routing: Routing): Record<string, Tensor> {
  switch (routing.kind) {
    case "token-choice": {
      const { outputWeights, inputWeights } = routing;
      return { outputWeights, ...(inputWeights && { inputWeights }) };
    }
    case "expert-choice":
      return { weights: routing.weights };
    case "soft": {
      const { dispatch, combine, source } = routing;
      return { dispatch, combine, ...(source && { source }) };
    }
  }
}

/** What it carries to a later layer, and what was said of its noise. */
export function carriedBy({ carry = {}, noise }: Routing): Record<string, Tensor> {
  const entries = Object.entries(carry).map(([name, value]) => [`carry ${name}`, value] as const);
  return { ...Object.fromEntries(entries), ...(noise && { "noise scale": noise.scale }) };
}

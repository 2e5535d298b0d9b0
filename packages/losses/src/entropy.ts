import {
  type Routing,
  type Tensor,
  UnsupportedError,
  cast,
  div,
  greater,
  log,
  maximum,
  mul,
  neg,
  sum,
} from "@moiety/core";
import { type Probabilities, probabilitiesOf } from "./product.ts";
import { type Stretches, countTokens, floatOf, meanBy, sumTokens } from "./statistics.ts";
import { type Target, targetTensor } from "./target.ts";

/** `[S, 1]`: the mean entropy of the probabilities of each stretch's tokens, in nats. */
export function meanTokenEntropy(
  name: string,
  routing: Routing,
  kind: Probabilities,
  stretches: Stretches,
): Tensor {
  const entropies = entropyOf(requireProbabilities(name, routing, kind), true);
  return meanBy(sumTokens(entropies, routing, stretches), countTokens(routing, stretches));
}

/** `[S, E]`: the mean probabilities of each stretch; all 0 where it has no token. */
export function meanProbabilities(
  name: string,
  routing: Routing,
  kind: Probabilities,
  stretches: Stretches,
): Tensor {
  const p = requireProbabilities(name, routing, kind);
  return meanBy(sumTokens(p, routing, stretches), countTokens(routing, stretches));
}

/** `[1, E]`: the mean of `means [S, E]` over the stretches that have `tokens [S, 1]`. */
export function meanOfMeans(means: Tensor, tokens: Tensor): Tensor {
  const filled = sum(cast(greater(tokens, 0), { dtype: floatOf(means) }));
  return div(sum(means, [0], true), maximum(filled, 1));
}

/** −Σ_e p_e log p_e over the last axis. */
export function entropyOf(p: Tensor, keepDims = false): Tensor {
  return neg(sum(mul(p, safeLog(p)), [-1], keepDims));
}

/** Σ_e p_e log (p_e / q_e) over the last axis of `p [S, E]`, q even unless given: `[S]`. */
export function divergence(
  name: string,
  p: Tensor,
  target: Target | undefined,
  experts: number,
): Tensor {
  const shares = targetTensor(name, target, experts, p);
  return sum(mul(p, safeLog(shares ? div(p, shares) : mul(p, experts))), [-1]);
}

/** Σ_e p_e log (p_e / (E · q_e)) over the last axis: the negative entropy, where q is even. */
export function negativeEntropy(
  name: string,
  p: Tensor,
  target: Target | undefined,
  experts: number,
): Tensor {
  const shares = targetTensor(name, target, experts, p);
  return sum(mul(p, safeLog(shares ? div(p, mul(shares, experts)) : p)), [-1]);
}

/** log x, finite at 0, so that 0 · log 0 is 0, and its gradient finite. */
function safeLog(x: Tensor): Tensor {
  return log(maximum(x, 1e-30));
}

function requireProbabilities(name: string, routing: Routing, kind: Probabilities): Tensor {
  if (routing.kind !== "soft") return probabilitiesOf(routing, kind);
  throw new UnsupportedError(
    `${name} needs each token's probabilities over experts, which soft routing does not have`,
    "probabilities over experts",
  );
}

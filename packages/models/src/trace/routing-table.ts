import type { ExpertChoice, Routing, Soft, TokenChoice } from "@moiety/core";
import type { RoutedLayer } from "./routed-token.ts";

/** The tensors of a routing that a trace reads. */
export type TracedRouting =
  | Pick<
      TokenChoice,
      "kind" | "experts" | "indices" | "selected" | "outputWeights" | "inputWeights"
    >
  | Pick<ExpertChoice, "kind" | "experts" | "tokens" | "weights">
  | Pick<Soft, "kind" | "experts" | "slots" | "combine">;

/** What a routing did with a token, by the token's number in T. */
export type RoutingTable = (token: number) => Omit<RoutedLayer, "layer">;

/** A routing without what a trace does not read, so that the rest may be freed. */
export function tracedRouting(routing: Routing): TracedRouting {
  const { kind, experts } = routing;
  switch (kind) {
    case "token-choice": {
      const { indices, selected, outputWeights, inputWeights } = routing;
      return { kind, experts, indices, selected, outputWeights, inputWeights };
    }
    case "expert-choice": {
      const { tokens, weights } = routing;
      return { kind, experts, tokens, weights };
    }
    case "soft": {
      const { slots, combine } = routing;
      return { kind, experts, slots, combine };
    }
  }
}

/** Reads a routing back. */
export async function readRouting(routing: TracedRouting): Promise<RoutingTable> {
  switch (routing.kind) {
    case "token-choice":
      return readTokenChoice(routing);
    case "expert-choice":
      return readExpertChoice(routing);
    case "soft":
      return readSoft(routing);
  }
}

async function readTokenChoice(
  routing: Extract<TracedRouting, { kind: "token-choice" }>,
): Promise<RoutingTable> {
  const { experts: none, indices, selected, outputWeights, inputWeights } = routing;
  const [chosen, before, output, input] = await Promise.all([
    indices.read(),
    selected === indices ? undefined : selected.read(),
    outputWeights.read(),
    inputWeights?.read(),
  ]);
  const choices = indices.shape[1] ?? 0;
  return (token) => {
    const experts: number[] = [];
    const weights: number[] = [];
    let dropped = 0;
    for (let at = token * choices; at < (token + 1) * choices; at++) {
      const expert = chosen[at] ?? none;
      if (expert < none) {
        experts.push(expert);
        weights.push((output[at] ?? Number.NaN) * (input?.[at] ?? 1));
      } else if ((before?.[at] ?? none) < none) dropped += 1;
    }
    return { experts, weights, ...(dropped > 0 && { dropped }) };
  };
}

async function readExpertChoice(
  routing: Extract<TracedRouting, { kind: "expert-choice" }>,
): Promise<RoutingTable> {
  const [, experts = 0, places = 0] = routing.tokens.shape;
  const [tokens, weights] = await Promise.all([routing.tokens.read(), routing.weights.read()]);
  const takers = new Map<number, Taker[]>();
  for (const [at, token] of tokens.entries()) {
    const list = takers.get(token) ?? [];
    takers.set(token, list);
    list.push({ expert: Math.floor(at / places) % experts, weight: weights[at] ?? Number.NaN });
  }
  return (token) => heaviestFirst(takers.get(token) ?? []);
}

async function readSoft(routing: Extract<TracedRouting, { kind: "soft" }>): Promise<RoutingTable> {
  const { slots, experts } = routing;
  const combine = await routing.combine.read();
  return (token) => {
    const first = token * experts * slots;
    const ofExpert = (expert: number): number => {
      let sum = 0;
      for (let slot = 0; slot < slots; slot++) {
        sum += combine[first + expert * slots + slot] ?? Number.NaN;
      }
      return sum;
    };
    return heaviestFirst(
      Array.from({ length: experts }, (_, expert) => ({ expert, weight: ofExpert(expert) })),
    );
  };
}

interface Taker {
  readonly expert: number;
  readonly weight: number;
}

function heaviestFirst(takers: readonly Taker[]): Omit<RoutedLayer, "layer"> {
  const sorted = takers.toSorted((a, b) => b.weight - a.weight || a.expert - b.expert);
  return {
    experts: sorted.map(({ expert }) => expert),
    weights: sorted.map(({ weight }) => weight),
  };
}

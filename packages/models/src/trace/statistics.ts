import { ConfigError } from "@moiety/core";
import type { ExpertLayer, RoutedLayer, RoutedToken } from "./routed-token.ts";

/** How a layer's experts were used. All of it is plain data. */
export interface LayerStatistics extends ExpertLayer {
  /** Tokens that came to the layer. */
  readonly tokens: number;
  /** Experts at work, summed over tokens. */
  readonly assignments: number;
  /** Choices that capacity took away. */
  readonly dropped: number;
  /** Assignments of each expert. With soft routing every token counts at every expert. */
  readonly load: readonly number[];
  /** Sum of the weights of each expert, which soft routing is told by. */
  readonly weight: readonly number[];
  /** Entropy of the load's shares in nats; 0 without assignments. */
  readonly entropy: number;
  /** The entropy over its largest value, ln E: 1 is even. 1 for a single expert. */
  readonly normalizedEntropy: number;
  /** The expert with the largest load and its share; of equals the lowest. */
  readonly busiest: { readonly expert: number; readonly share: number };
  /** Experts without any assignment. */
  readonly unused: readonly number[];
  /**
   * How many tokens both experts worked for; on the diagonal, those of one expert. Absent above
   * {@link MOST_COACTIVE} experts.
   */
  readonly coactivation?: readonly (readonly number[])[] | undefined;
}

/** Statistics of routed tokens. */
export interface RoutingStatistics {
  /** Records that were added. */
  readonly tokens: number;
  /** Of each layer with experts, in order. */
  readonly layers: readonly LayerStatistics[];
}

/** Adds records up. */
export interface RoutingCounter {
  /** Counts a record. @throws ConfigError for a layer or expert that was not announced */
  add(record: RoutedToken): void;
  /** The statistics so far. */
  result(): RoutingStatistics;
}

/** The most experts of a layer for which co-activation is counted. */
export const MOST_COACTIVE = 64;

/**
 * Counts how experts are used, record by record.
 *
 * @example
 * const counter = routingStatistics(expertLayers(model.config));
 * const onRouted = counter.add;
 * for await (const token of generate(model, params, state, ids, { maxNewTokens: 8, onRouted })) {}
 * console.log(counter.result().layers[0]?.load);
 */
export function routingStatistics(layers: readonly ExpertLayer[]): RoutingCounter {
  const counts = new Map(layers.map((size) => [size.layer, new LayerCounts(size)]));
  let tokens = 0;
  return {
    add(record) {
      // All are looked up before any counts, so that a refused record leaves nothing behind.
      const found = record.layers.map((routed) => ({ routed, count: countFor(counts, routed) }));
      for (const { routed, count } of found) count.add(routed);
      tokens += 1;
    },
    result: () => ({ tokens, layers: [...counts.values()].map((count) => count.result()) }),
  };
}

function countFor(
  counts: ReadonlyMap<number, LayerCounts>,
  { layer, experts }: RoutedLayer,
): LayerCounts {
  const count = counts.get(layer);
  if (count === undefined) {
    throw new ConfigError(
      `a record tells of layer ${layer}, which was not announced`,
      "layers",
      layer,
    );
  }
  const strange = experts.find((expert) => !(expert < count.experts));
  if (strange === undefined) return count;
  throw new ConfigError(
    `a record tells of expert ${strange} in layer ${layer}, which has ${count.experts}`,
    "experts",
    strange,
  );
}

class LayerCounts {
  readonly #size: ExpertLayer;
  readonly #load: number[];
  readonly #weight: number[];
  /** `[E, E]`, where it is counted. */
  readonly #together: number[][] | undefined;
  #tokens = 0;
  #dropped = 0;

  constructor(size: ExpertLayer) {
    const { experts } = size;
    const zeros = (): number[] => new Array<number>(experts).fill(0);
    this.#size = size;
    this.#load = zeros();
    this.#weight = zeros();
    this.#together = experts <= MOST_COACTIVE ? Array.from({ length: experts }, zeros) : undefined;
  }

  /** The experts that a record may tell of. */
  get experts(): number {
    return this.#size.experts;
  }

  add({ experts, weights, dropped = 0 }: RoutedLayer): void {
    this.#tokens += 1;
    this.#dropped += dropped;
    for (const [choice, expert] of experts.entries()) {
      this.#load[expert] = (this.#load[expert] ?? 0) + 1;
      this.#weight[expert] = (this.#weight[expert] ?? 0) + (weights[choice] ?? 0);
    }
    if (this.#together) countPairs(this.#together, experts);
  }

  result(): LayerStatistics {
    const load = [...this.#load];
    const assignments = load.reduce((sum, count) => sum + count, 0);
    const shares = load.map((count) => (assignments === 0 ? 0 : count / assignments));
    const entropy = shares.reduce((sum, p) => sum - (p === 0 ? 0 : p * Math.log(p)), 0);
    const largest = Math.max(...shares);
    return {
      ...this.#size,
      tokens: this.#tokens,
      assignments,
      dropped: this.#dropped,
      load,
      weight: [...this.#weight],
      entropy,
      normalizedEntropy: load.length === 1 ? 1 : entropy / Math.log(load.length),
      busiest: { expert: shares.indexOf(largest), share: largest },
      unused: load.flatMap((count, expert) => (count === 0 ? [expert] : [])),
      ...(this.#together && { coactivation: this.#together.map((row) => [...row]) }),
    };
  }
}

function countPairs(together: readonly number[][], experts: readonly number[]): void {
  const different = [...new Set(experts)];
  for (const a of different) {
    const row = together[a] ?? [];
    for (const b of different) row[b] = (row[b] ?? 0) + 1;
  }
}

import { ShapeError } from "@moiety/core";

/** An expert and its share of all assignments. */
export interface ExpertShare {
  readonly expert: number;
  /** From 0 to 1. */
  readonly share: number;
}

/** How evenly one layer uses its experts. */
export interface LoadStatistics {
  /** Each expert's share of the assignments; they sum to 1. */
  readonly shares: readonly number[];
  /** The busiest expert's load over the mean: 1 is even, the number of experts is collapse. */
  readonly imbalance: number;
  /** Experts without any assignment. */
  readonly dead: readonly number[];
  /** Experts below a tenth of an even share, the dead ones among them. */
  readonly starved: readonly number[];
  /** Entropy of the shares over its largest value: 1 is even, 0 is collapse. */
  readonly evenness: number;
  readonly busiest: ExpertShare;
  readonly idlest: ExpertShare;
}

/**
 * Statistics of one layer's load. Where nothing was assigned, as routers that may leave tokens out can
 * do, all shares are 0, so all experts are dead, and imbalance and evenness are 0.
 *
 * @param load assignments of each expert.
 */
export function loadStatistics(load: readonly number[]): LoadStatistics {
  if (load.length === 0) throw new ShapeError("a load needs at least one expert");
  const total = load.reduce((sum, count) => sum + count, 0);
  const shares = load.map((count) => (total > 0 ? count / total : 0));
  const even = 1 / load.length;
  const order = shares.map((share, expert): ExpertShare => ({ expert, share }));
  const busiest = order.reduce((best, next) => (next.share > best.share ? next : best));
  const idlest = order.reduce((best, next) => (next.share < best.share ? next : best));
  const entropy = shares.reduce(
    (sum, share) => (share > 0 ? sum - share * Math.log(share) : sum),
    0,
  );
  return {
    shares,
    imbalance: busiest.share / even,
    dead: order.filter(({ share }) => share === 0).map(({ expert }) => expert),
    starved: order.filter(({ share }) => share < even / 10).map(({ expert }) => expert),
    evenness: load.length > 1 ? entropy / Math.log(load.length) : Math.sign(total),
    busiest,
    idlest,
  };
}

/** From here on a preference is worth a word. */
const clearMultiple = 1.5;

/** An expert that a domain is sent to far more often than others are. */
export interface Favourite {
  readonly domain: number;
  readonly expert: number;
  /** The expert's share of the domain's assignments. */
  readonly share: number;
  /** That share over the expert's mean share of all domains. */
  readonly multiple: number;
}

/** Which expert speaks which language, in one layer. */
export interface Specialisation {
  /** `[domain][expert]`: each expert's share of that domain's assignments; a row sums to 1, or 0. */
  readonly shares: readonly (readonly number[])[];
  /** Bits that an expert's number tells about the domain, every domain weighing the same. */
  readonly information: number;
  /** The pairs that tell most of it, those first that tell more. */
  readonly favourites: readonly Favourite[];
  /** The most that it could tell: the logarithm of the number of domains, or of experts if fewer. */
  readonly ceiling: number;
}

/**
 * Shares and mutual information of one layer.
 *
 * @param load assignments, `[domain][expert]`.
 */
export function specialisation(load: readonly (readonly number[])[]): Specialisation {
  const shares = load.map((row) => loadStatistics(row).shares);
  const experts = shares[0]?.length ?? 0;
  const overall = Array.from({ length: experts }, (_, expert) =>
    shares.reduce((sum, row) => sum + (row[expert] ?? 0) / shares.length, 0),
  );
  const pairs = shares.flatMap((row, domain) =>
    row.map((share, expert) => {
      const multiple = share > 0 ? share / (overall[expert] ?? 0) : 0;
      const information = share > 0 ? (share / shares.length) * Math.log2(multiple) : 0;
      return { domain, expert, share, multiple, information };
    }),
  );
  const information = pairs.reduce((sum, pair) => sum + pair.information, 0);
  return {
    shares,
    information: Math.max(0, information),
    favourites: pairs
      .filter(({ multiple }) => multiple >= clearMultiple)
      .sort((a, b) => b.information - a.information)
      .map(({ domain, expert, share, multiple }) => ({ domain, expert, share, multiple })),
    ceiling: Math.log2(Math.min(shares.length, experts)),
  };
}

/** Adds loads of the same experts, place by place. */
export function addLoads(loads: readonly (readonly number[])[]): readonly number[] {
  const [first = [], ...rest] = loads;
  return rest.reduce(
    (sum, load) => sum.map((count, index) => count + (load[index] ?? 0)),
    [...first],
  );
}

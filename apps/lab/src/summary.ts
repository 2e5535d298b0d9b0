import { addLoads, loadStatistics, specialisation } from "./loads.ts";
import type { LoadStatistics, Specialisation } from "./loads.ts";
import type { DomainResult, Evaluation, ExperimentResult, ModelName } from "./result.ts";
import { compare, mean } from "./statistics.ts";
import type { Comparison, Verdict } from "./statistics.ts";
import { type Twins, forTwins } from "./twins.ts";

/** One domain and how two models compare on it. */
export interface DomainSummary {
  readonly domain: DomainResult;
  readonly comparison: Comparison;
}

/** Two of the models, overall and domain by domain. */
export interface PairSummary {
  readonly first: ModelName;
  readonly second: ModelName;
  readonly overall: Comparison;
  readonly domains: readonly DomainSummary[];
}

/** One layer of a model over the held-out text. */
export interface LayerSummary {
  readonly load: LoadStatistics;
  readonly specialisation: Specialisation;
}

/** The answers of a run. */
export interface Summary {
  /** Means over all held-out sequences, bits/byte. */
  readonly heldOut: Twins<number>;
  /** Does sparsity pay? */
  readonly dense: PairSummary;
  /** Does the router? */
  readonly hash: PairSummary;
  /** And without one that learns? */
  readonly hashDense: PairSummary;
  /** Of the sparse model. */
  readonly layers: readonly LayerSummary[];
  /** Loads of the layers of the hashed model. */
  readonly hashLoads: readonly LoadStatistics[];
  /** Experts that a token met, on average over tokens and layers. */
  readonly expertsMet: Twins<number>;
}

/** The answers of a run, or null where it ended before its comparison. */
export function summarise(result: ExperimentResult): Summary | null {
  const { sparse, dense, hash } = forTwins((name) => result.models[name].evaluation);
  if (sparse === null || dense === null || hash === null) return null;
  const found: Twins<Evaluation> = { sparse, dense, hash };
  const pair = (first: ModelName, second: ModelName): PairSummary =>
    summarisePair(result, found, first, second);
  return {
    heldOut: forTwins((name) => mean(found[name].bitsPerByte)),
    dense: pair("sparse", "dense"),
    hash: pair("sparse", "hash"),
    hashDense: pair("hash", "dense"),
    layers: sparse.load.map((load) => ({
      load: loadStatistics(addLoads(load)),
      specialisation: specialisation(load),
    })),
    hashLoads: hash.load.map((load) => loadStatistics(addLoads(load))),
    expertsMet: forTwins((name) => expertsMet(found[name], result)),
  };
}

/** What a verdict says of two models, in words: `sparse better`. */
export function verdictWords({ first, second }: PairSummary, verdict: Verdict): string {
  if (verdict === "not resolved") return verdict;
  return `${verdict === "first better" ? first : second} better`;
}

function summarisePair(
  { domains, windowDomains }: ExperimentResult,
  found: Twins<Evaluation>,
  first: ModelName,
  second: ModelName,
): PairSummary {
  const of = (name: ModelName, domain?: number): readonly number[] =>
    found[name].bitsPerByte.filter(
      (_, window) => domain === undefined || windowDomains[window] === domain,
    );
  return {
    first,
    second,
    overall: compare(of(first), of(second)),
    domains: domains.map((domain, index) => ({
      domain,
      comparison: compare(of(first, index), of(second, index)),
    })),
  };
}

function expertsMet({ load, bitsPerByte }: Evaluation, { settings }: ExperimentResult): number {
  const tokens = bitsPerByte.length * settings.training.sequenceLength;
  const assigned = load.flat(2).reduce((total, count) => total + count, 0);
  return assigned / (tokens * load.length);
}

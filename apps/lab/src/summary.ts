import { addLoads, loadStatistics, specialisation } from "./loads.ts";
import type { LoadStatistics, Specialisation } from "./loads.ts";
import type { DomainResult, Evaluation, ExperimentResult } from "./result.ts";
import { compare } from "./statistics.ts";
import type { Comparison } from "./statistics.ts";

/** One domain and how the models compare on it. */
export interface DomainSummary {
  readonly domain: DomainResult;
  readonly comparison: Comparison;
}

/** One layer of the sparse model over the held-out text. */
export interface LayerSummary {
  readonly load: LoadStatistics;
  readonly specialisation: Specialisation;
}

/** The answers of a run. */
export interface Summary {
  readonly overall: Comparison;
  readonly domains: readonly DomainSummary[];
  readonly layers: readonly LayerSummary[];
}

/** The answers of a run, or null where it ended before its comparison. */
export function summarise(result: ExperimentResult): Summary | null {
  const sparse = result.models.sparse.evaluation;
  const dense = result.models.dense.evaluation;
  if (sparse === null || dense === null) return null;
  return {
    overall: compare(sparse.bitsPerByte, dense.bitsPerByte),
    domains: result.domains.map((domain, index) => {
      const own = (evaluation: Evaluation): readonly number[] =>
        evaluation.bitsPerByte.filter((_, window) => result.windowDomains[window] === index);
      return { domain, comparison: compare(own(sparse), own(dense)) };
    }),
    layers: sparse.load.map((load) => ({
      load: loadStatistics(addLoads(load)),
      specialisation: specialisation(load),
    })),
  };
}

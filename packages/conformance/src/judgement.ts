import type { BoundedValues, CompareOptions } from "./case.ts";
import { type Comparison, compareValues } from "./compare.ts";
import { CaseFailure, KitFault } from "./failure.ts";
import type { HostTensor } from "./host-tensor.ts";

/** The element of a case that came closest to its bound, or went furthest beyond it. */
export interface WorstElement {
  /** Name of the output. */
  readonly output: string;
  /** In row-major order. */
  readonly index: number;
  readonly got: number;
  readonly wanted: number;
  readonly bound: number;
}

/** What a case's comparisons came to. */
export interface Judgement {
  /** Largest |error| / bound; above 1 the case fails. */
  readonly maxErr: number;
  /** The 99.9th percentile of |error| / bound in the output that was worst. */
  readonly p999: number;
  readonly worst: WorstElement | undefined;
  /** Elements whose bound was too wide to judge them by. */
  readonly ambiguous: number;
  readonly elements: number;
}

/** Share of ambiguous elements that a case may have unless it says otherwise. */
const AMBIGUOUS_SHARE = 0.02;

/** Gathers the comparisons of a case; each fails it as soon as it is beyond its bounds. */
export class Judge {
  #judgement: Judgement | undefined;

  /** What was compared so far; `undefined` when nothing was. */
  get judgement(): Judgement | undefined {
    return this.#judgement;
  }

  /** Compares one output. @throws CaseFailure, KitFault (too many ambiguous elements) */
  compare(
    name: string,
    got: HostTensor,
    wanted: BoundedValues,
    options: CompareOptions = {},
  ): void {
    if (got.shape.join() !== wanted.shape.join()) {
      throw new CaseFailure(`${name}: shape [${got.shape}] instead of [${wanted.shape}]`);
    }
    const values = options.nonFinite === "ignore" ? withoutNonFinite(got, wanted) : got.data;
    const comparison = compareValues({
      got: values,
      wanted: wanted.values,
      bounds: wanted.bounds,
      shape: got.shape,
      dtype: got.dtype,
    });
    this.#add(name, comparison, wanted.bounds.length);
    if (!comparison.ok) throw new CaseFailure(explain(name, comparison));
    const allowed = options.ambiguous ?? AMBIGUOUS_SHARE;
    const share = comparison.ambiguous / Math.max(1, wanted.bounds.length);
    if (share <= allowed) return;
    throw new KitFault(
      `${name}: ${comparison.ambiguous} of ${wanted.bounds.length} elements have bounds too wide ` +
        "to judge by; the case's inputs are poor",
    );
  }

  #add(output: string, comparison: Comparison, elements: number): void {
    const before = this.#judgement;
    const { worst } = comparison;
    const worse = before === undefined || comparison.maxErr >= before.maxErr;
    this.#judgement = {
      maxErr: worse ? comparison.maxErr : before.maxErr,
      p999: worse ? comparison.p999 : before.p999,
      worst: worse ? worst && { output, ...worst } : before.worst,
      ambiguous: (before?.ambiguous ?? 0) + comparison.ambiguous,
      elements: (before?.elements ?? 0) + elements,
    };
  }
}

function explain(name: string, { worst, maxErr }: Comparison): string {
  if (worst === undefined) return `${name}: beyond its bounds`;
  const { index, got, wanted, bound } = worst;
  const times = Number.isFinite(maxErr) ? `, off by ${maxErr.toPrecision(3)} times the bound` : "";
  return `${name}[${index}] is ${got} instead of ${wanted} ± ${bound.toPrecision(3)}${times}`;
}

/** The values got, with the wanted ones put where those are not finite. */
function withoutNonFinite(got: HostTensor, wanted: BoundedValues): HostTensor["data"] {
  const data = got.data.slice();
  for (let index = 0; index < data.length; index++) {
    const value = wanted.values[index] ?? 0;
    if (!Number.isFinite(value)) data[index] = value;
  }
  return data;
}

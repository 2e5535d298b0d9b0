import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";

/**
 * Where the rows of the assignments are. Sorted by expert: `inverse [A]` is the row of each, A where it
 * has none. Or in the order of the assignments: those without one of `count` experts have none.
 */
export type Places =
  | { readonly inverse: GpuHandle }
  | { readonly experts: GpuHandle; readonly count: number };

/** Rows to be added up for each token. */
export interface CombineRequest {
  readonly tokens: number;
  readonly choices: number;
  readonly width: number;
  /** `[A, width]`. */
  readonly rows: GpuHandle;
  readonly places: Places;
  /** `[T, k]` factors; 1 where there are none. */
  readonly factors: GpuHandle | undefined;
  /** `[T, width]`. */
  readonly target: GpuHandle;
}

/** Adds up the rows of each token, in the order of its choices. */
export function combineRows(call: KernelCall, request: CombineRequest): void {
  const { tokens, choices, width, rows, places, factors, target } = request;
  const sorted = "inverse" in places;
  const aligned = width % 4 === 0;
  const type = aligned ? "vec4<f32>" : "f32";
  const columns = aligned ? width / 4 : width;
  call.dispatch(
    {
      name: "moeCombine",
      variant: `${sorted ? "sorted" : "plain"};${factors ? "weighted" : ""}`,
      operands: {
        rows: read(rows, type),
        places: read(sorted ? places.inverse : places.experts, "u32"),
        y: write(target, type),
        ...(factors && { factors: read(factors, "f32") }),
      },
      params: {
        count: u32(tokens * columns),
        columns: u32(columns),
        choices: u32(choices),
        // A negative number of an expert is a large one here.
        none: u32(sorted ? tokens * choices : places.count),
      },
      text: () => ({
        main: `if (index >= params.count) { return; }
let token = index / params.columns;
let column = index % params.columns;
var sum = ${type}();
for (var j = 0u; j < params.choices; j++) {
  let a = token * params.choices + j;
  let place = load_places(a);
  if (place >= params.none) { continue; }
  let row = ${sorted ? "place" : "a"};
  sum = ${addTerm("load_rows(row * params.columns + column)", factors ? "load_factors(a)" : undefined, type)};
}
store_y(index, sum);`,
      }),
    },
    { invocations: tokens * columns },
  );
}

/** The sum with one more term: the same operation wherever choices are added. */
export function addTerm(term: string, factor: string | undefined, type: string): string {
  return factor === undefined ? `sum + ${term}` : `fma(${type}(${factor}), ${term}, sum)`;
}

import type { KernelCall } from "../../kernel.ts";
import { type Operand, type Param, read, u32, write } from "../../program.ts";
import { BEFORE } from "./keys.ts";

/** Length of the runs that are sorted first, each element by counting those before it. */
function runLength({ context }: KernelCall): number {
  // Where no hardware does the work, comparisons cost more than another dispatch.
  return context.tiling === "registers" ? 16 : 64;
}

/** Rows to be sorted by (key, tag) ascending; tags of a row differ, so that there are no ties. */
export interface Sorting {
  /** Of the kernels; with `variant` it stands for `keys` and `finish`. */
  readonly name: string;
  readonly variant?: string | undefined;
  readonly rows: number;
  readonly width: number;
  /** What `keys` reads. */
  readonly sources: Readonly<Record<string, Operand>>;
  /** What `finish` writes, or reads beside. */
  readonly results: Readonly<Record<string, Operand>>;
  readonly params?: Readonly<Record<string, Param>> | undefined;
  /** WGSL: `fn key_of(place: u32) -> u32` and `fn tag_of(place: u32, i: u32) -> u32`. */
  readonly keys: string;
  /** WGSL: `fn finish(row: u32, rank: u32, key: u32, tag: u32)`, called once for each element. */
  readonly finish: string;
}

/**
 * Sorts without workgroup memory or barriers: short runs by counting, then runs twice as long each
 * time, an element's place in a merged run being its own plus the number of elements of the other run
 * that come before it, found by binary search.
 */
export function sortRows(call: KernelCall, sorting: Sorting): void {
  const { rows, width } = sorting;
  const size = rows * width;
  const scratch = (): [Operand["handle"], Operand["handle"]] => [
    call.temporary({ shape: [size], dtype: "u32" }),
    call.temporary({ shape: [size], dtype: "u32" }),
  ];
  if (size === 0) return;
  const first = runLength(call);
  if (width <= first) {
    countRuns(call, sorting, undefined);
    return;
  }
  let from = scratch();
  countRuns(call, sorting, from);
  let to = width > 2 * first ? scratch() : undefined;
  for (let run = first; run < width; run *= 2) {
    const last = run * 2 >= width;
    mergeRuns(call, sorting, run, from, last ? undefined : to);
    if (!last && to) [from, to] = [to, from];
  }
}

type Pairs = readonly [keys: Operand["handle"], tags: Operand["handle"]];

/** Where an element goes: into the next run, or out. */
function targetOf({ results, finish }: Sorting, to: Pairs | undefined) {
  if (!to) return { operands: results, text: finish };
  return {
    operands: { keys_out: write(to[0], "u32"), tags_out: write(to[1], "u32") },
    text: `
fn finish(row: u32, rank: u32, key: u32, tag: u32) {
  store_keys_out(row * params.width + rank, key);
  store_tags_out(row * params.width + rank, tag);
}`,
  };
}

function countRuns(call: KernelCall, sorting: Sorting, to: Pairs | undefined): void {
  const { name, variant, rows, width, sources, params, keys } = sorting;
  const target = targetOf(sorting, to);
  const run = runLength(call);
  call.dispatch(
    {
      name: `${name}Runs`,
      variant: `${variant ?? ""},${to !== undefined}`,
      operands: { ...sources, ...target.operands },
      params: { ...params, size: u32(rows * width), width: u32(width) },
      text: () => ({
        declarations: BEFORE + keys + target.text,
        main: `if (index >= params.size) { return; }
let row = index / params.width;
let own = index % params.width;
let base = row * params.width;
let key = key_of(index);
let tag = tag_of(index, own);
let first = own / ${run}u * ${run}u;
let last = min(params.width, first + ${run}u);
var rank = first;
for (var i = first; i < last; i++) {
  if (before(key_of(base + i), tag_of(base + i, i), key, tag)) { rank += 1u; }
}
finish(row, rank, key, tag);`,
      }),
    },
    { invocations: rows * width },
  );
}

function mergeRuns(
  call: KernelCall,
  sorting: Sorting,
  run: number,
  from: Pairs,
  to: Pairs | undefined,
): void {
  const { name, variant, rows, width, params } = sorting;
  const target = targetOf(sorting, to);
  call.dispatch(
    {
      name: to ? "mergeRuns" : `${name}Merge`,
      variant: to ? undefined : variant,
      operands: { keys: read(from[0], "u32"), tags: read(from[1], "u32"), ...target.operands },
      params: {
        ...(to ? {} : params),
        size: u32(rows * width),
        width: u32(width),
        run: u32(run),
      },
      text: () => ({
        declarations: BEFORE + target.text,
        main: `if (index >= params.size) { return; }
let row = index / params.width;
let own = index % params.width;
let base = row * params.width;
let key = load_keys(index);
let tag = load_tags(index);
let place = own % params.run;
let first = own - place;
let even = (first / params.run) % 2u == 0u;
let other = select(first - params.run, first + params.run, even);
var low = min(other, params.width);
var high = min(other + params.run, params.width);
let begin = low;
while (low < high) {
  let middle = (low + high) / 2u;
  if (before(load_keys(base + middle), load_tags(base + middle), key, tag)) { low = middle + 1u; }
  else { high = middle; }
}
finish(row, min(first, other) + place + low - begin, key, tag);`,
      }),
    },
    { invocations: rows * width },
  );
}

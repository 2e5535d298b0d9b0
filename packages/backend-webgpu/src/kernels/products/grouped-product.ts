import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32 } from "../../program.ts";
import { type Cut, PAIR } from "./cut.ts";
import { type Factor, type StoredFloat, alignedLines, factorOf } from "./factor.ts";
import { bindingsOf, matrixWindows } from "./matrix-windows.ts";
import { multiply } from "./product.ts";
import { type RowTiling, TILE_AT, tileBound } from "./row-tiles.ts";

/** A matrix for each group, as a product's right factor. */
export interface Bank {
  readonly handle: GpuHandle;
  readonly dtype: StoredFloat;
  /** Whether the device reads f16 by itself. */
  readonly native?: boolean | undefined;
  readonly groups: number;
  /** Length of the sums. */
  readonly inner: number;
  readonly columns: number;
  /** `[groups, inner, columns]` instead of `[groups, columns, inner]`. */
  readonly transposed: boolean;
}

/**
 * Rows times the matrices of their groups. The pieces of WGSL see `owner` (the group), `dead`
 * (whether the tile's rows are in no group: their sums are zero) and `row`.
 */
export interface GroupedRequest {
  readonly name: string;
  readonly variant: string;
  readonly cut: Cut;
  readonly tiling: RowTiling;
  /** The map of tiles. */
  readonly plan: { readonly handle: GpuHandle; readonly tilesAt: number };
  readonly left: Factor;
  readonly bank: Bank;
  /** Operands beside the bank and `plan`. */
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** Pairs of column quads, unless as many as the bank has. */
  readonly pairs?: number | undefined;
  readonly columns?: ((pair: string) => readonly [string, string]) | undefined;
  readonly declarations: string;
  readonly store: string;
}

/** Bytes of an element of weights. */
function bytesOf(dtype: StoredFloat): number {
  return dtype === "f32" ? 4 : 2;
}

/**
 * A bank's matrix as a factor; `matrix` is the element at which it begins. `quads` says whether its
 * columns are asked for by quads that begin at multiples of four.
 */
export function bankFactor(bank: Bank, quads: boolean): Factor {
  const { handle, dtype, native, inner, columns, transposed } = bank;
  const line = transposed ? columns : inner;
  return factorOf({
    name: "weights",
    dtype,
    native,
    order: transposed ? "columns" : "rows",
    aligned: alignedLines(handle, line) && (quads || !transposed),
    whole: inner % 4 === 0,
    stride: transposed ? "params.columns" : "params.inner",
    shift: "matrix",
    last: "params.columns - 1u",
  });
}

/** WGSL that finds a group's matrix in the window that is bound, or returns. */
export const OWNER_TEXT = `if (owner < params.groupFirst || owner >= params.groupEnd) { return; }
let dead = owner == params.groups;
let end = select(params.inner, 0u, dead);
let matrix = select(owner * params.matrix - params.shift, 0u, dead);`;

/** What {@link OWNER_TEXT} needs, once for each window of the bank. */
export function eachWindow(
  call: KernelCall,
  bank: Bank,
  operands: Readonly<Record<string, Operand>>,
  type: Operand["type"],
  issue: (operands: Record<string, Operand>, params: Record<string, Param>) => void,
): void {
  const { handle, dtype, groups, inner, columns } = bank;
  const room = call.context.storageBuffers - bindingsOf(operands);
  const elements = inner * columns;
  const windows = matrixWindows(
    { handle, count: groups, elements, elementBytes: bytesOf(dtype) },
    room,
  );
  for (const { first, end, segment, segments, shift } of windows) {
    issue(
      { ...operands, weights: { ...read(handle, type, segment), segments } },
      {
        inner: u32(inner),
        columns: u32(columns),
        groups: u32(groups),
        groupFirst: u32(first),
        // Rows in no group are done with the last window.
        groupEnd: u32(end === groups ? groups + 1 : end),
        matrix: u32(elements),
        shift: u32(shift),
      },
    );
  }
}

/** Queues a grouped product: one dispatch for each window of the bank. */
export function multiplyGroups(call: KernelCall, request: GroupedRequest): void {
  const { bank, cut, tiling, plan, left } = request;
  const { rows, groups } = tiling;
  const columns =
    request.columns ?? ((pair): [string, string] => [`${pair} * 8u`, `${pair} * 8u + 4u`]);
  const right = bankFactor(bank, request.columns === undefined || bank.columns % 8 === 0);
  const operands = { plan: read(plan.handle, "u32"), ...request.operands };
  eachWindow(call, bank, operands, right.type, (bound, params) => {
    multiply(call, {
      name: request.name,
      variant: request.variant,
      cut,
      left,
      right,
      operands: bound,
      params: { ...params, ...request.params, tilesAt: u32(plan.tilesAt) },
      tiles: tileBound(rows, groups, cut.rows),
      pairs: request.pairs ?? Math.ceil(bank.columns / PAIR),
      declarations: `${TILE_AT}\n${request.declarations}`,
      begin: `let info = tile_at(tile);
let owner = info.x; let first = info.y; let limit = info.z;
${OWNER_TEXT}`,
      columns,
      store: request.store,
    });
  });
}

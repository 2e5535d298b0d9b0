import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, type Param, read, u32 } from "../../program.ts";
import { codesFactor } from "./codes-factor.ts";
import { scalesType } from "./codes-text.ts";
import { type Cut, PAIR } from "./cut.ts";
import { type Factor, alignedLines, factorOf } from "./factor.ts";
import { type HeldWeights, isCodes, lineScales, numberBytes, scaleBytes } from "./held.ts";
import {
  type MatrixStack,
  type StackPart,
  WHOLE,
  bindingsOf,
  matrixWindows,
} from "./matrix-windows.ts";
import { multiply } from "./product.ts";
import { type RowTiling, TILE_AT, tileBound } from "./row-tiles.ts";

/** A matrix for each group, as a product's right factor. */
export interface Bank extends HeldWeights {
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

/**
 * A bank's matrix as a factor; `matrix` is the element at which it begins, of codes the line. `quads`
 * says whether its columns are asked for by quads that begin at multiples of four.
 */
export function bankFactor(bank: Bank, quads: boolean): Factor {
  const { handle, held, native, inner, columns, transposed } = bank;
  const line = transposed ? columns : inner;
  const stride = transposed ? "params.columns" : "params.inner";
  const common = {
    name: "weights",
    order: transposed ? "columns" : "rows",
    aligned: alignedLines(handle, line) && (quads || !transposed),
    whole: inner % 4 === 0,
    last: "params.columns - 1u",
  } as const;
  if (!isCodes(held)) {
    return factorOf({ ...common, dtype: held, native, stride, shift: "matrix" });
  }
  const [shift, scalesShift] = ["params.codesShift", "params.scalesShift"];
  return codesFactor({
    ...common,
    format: held,
    width: stride,
    first: "matrix",
    shift,
    scalesShift,
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
  const { handle, groups, inner, columns } = bank;
  const room = call.context.storageBuffers - bindingsOf(operands);
  for (const { first, end, parts } of matrixWindows(stacksOf(bank), groups, room)) {
    const [{ segment, segments, shift } = WHOLE, scales = WHOLE] = parts;
    issue(
      {
        ...operands,
        weights: { ...read(handle, type, segment), segments },
        ...scalesOperand(bank, scales),
      },
      {
        inner: u32(inner),
        columns: u32(columns),
        groups: u32(groups),
        groupFirst: u32(first),
        // Rows in no group are done with the last window.
        groupEnd: u32(end === groups ? groups + 1 : end),
        ...placesOf(bank, shift, scales.shift),
      },
    );
  }
}

/** The matrices, and their scales beside them. */
function stacksOf({ handle, held, scales, inner, columns, transposed }: Bank): MatrixStack[] {
  const matrices = { handle, elements: inner * columns, elementBytes: numberBytes(held) };
  if (!isCodes(held) || !scales) return [matrices];
  const [lines, width] = transposed ? [inner, columns] : [columns, inner];
  const elements = lines * lineScales(held, width);
  return [matrices, { handle: scales, elements, elementBytes: scaleBytes(held) }];
}

function scalesOperand(
  { held, scales }: Bank,
  { segment, segments }: StackPart,
): Record<string, Operand> {
  if (!isCodes(held) || !scales) return {};
  return { weightsScales: { ...read(scales, scalesType(held), segment), segments } };
}

/** Where matrices begin: floats by their number behind what is not bound, codes by lines. */
function placesOf(
  { held, inner, columns, transposed }: Bank,
  shift: number,
  scalesShift: number,
): Record<string, Param> {
  if (!isCodes(held)) return { matrix: u32(inner * columns), shift: u32(shift) };
  return {
    matrix: u32(transposed ? inner : columns),
    shift: u32(0),
    codesShift: u32(shift),
    scalesShift: u32(scalesShift),
  };
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

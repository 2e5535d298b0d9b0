import type { KernelCall, Operand } from "../../kernel.ts";
import { type FactorDType, factorBytes } from "./elements.ts";
import { launchPack } from "./pack.ts";
import type { PackLayout } from "./pack-job.ts";
import { PANEL, PANEL_ROW_BYTES } from "./tile.ts";

/**
 * The right factor of products: matrices of `inner` × `columns` elements, one after the other in a
 * buffer. Strides are in elements.
 */
export interface RightFactor {
  readonly dtype: FactorDType;
  readonly matrices: number;
  /** From one matrix to the next. */
  readonly matrixStride: number;
  /** K. */
  readonly inner: number;
  /** From one k to the next: 1 in `[out, in]`. */
  readonly innerStride: number;
  /** Columns; where there are two kinds, of each. */
  readonly columns: number;
  /** From one column to the next, of its kind; at most 2 where `innerStride` is not 1. */
  readonly columnStride: number;
  /**
   * Where the first columns of two kinds are in a matrix, such as those of gates and of what they
   * gate: then lanes 0 … 3 of panel p hold columns 4p … 4p + 3 of the first kind, and lanes 4 … 7
   * the same ones of the second, zeros behind the last. Without it a panel holds eight columns of
   * one kind.
   */
  readonly kinds?: readonly [first: number, second: number] | undefined;
}

/** A right factor in panels, [K][{@link PANEL}] each, those of a matrix one after the other. */
export interface PackedFactor {
  readonly address: number;
  /** Bytes from one matrix to the next. */
  readonly matrixBytes: number;
  /** K. */
  readonly inner: number;
  /** Columns of a product with a matrix; with two kinds all lanes of all panels. */
  readonly columns: number;
}

/** Panels of one matrix. */
export function panelsOf({ columns, kinds }: RightFactor): number {
  return Math.ceil(columns / (kinds ? PANEL / 2 : PANEL));
}

/** Packs weights: at their first use, and kept as long as they stay what they are. */
export function packWeights(call: KernelCall, weights: Operand, factor: RightFactor): PackedFactor {
  const { dtype, matrices, matrixStride, inner, innerStride, columns, columnStride } = factor;
  const places = [matrices, matrixStride, inner, innerStride, columns, columnStride];
  const name = ["panels", dtype, ...places, ...(factor.kinds ?? [])].join();
  return packed(factor, (bytes) =>
    call.derived(weights, name, bytes, (to) => fillPanels(call, weights.address, factor, to)),
  );
}

/** Packs a right factor for this call alone. */
export function packRight(call: KernelCall, source: number, factor: RightFactor): PackedFactor {
  return packed(factor, (bytes) => {
    const to = call.temporary(bytes);
    fillPanels(call, source, factor, to);
    return to;
  });
}

/** How the columns of one kind are told to the packing routines; a panel takes `width` of them. */
export function plainLayout(
  columns: number,
  columnBytes: number,
  innerBytes: number,
  width: number,
): PackLayout {
  return {
    columnBytes,
    innerBytes,
    gathered: 0,
    low: 0,
    high: 4 * columnBytes,
    advance: width,
    lowCount: columns,
    highCount: columns - 4,
  };
}

function packed(factor: RightFactor, place: (bytes: number) => number): PackedFactor {
  const { inner, columns, kinds, matrices } = factor;
  const panels = panelsOf(factor);
  const matrixBytes = panels * inner * PANEL_ROW_BYTES;
  return {
    address: place(matrices * matrixBytes),
    matrixBytes,
    inner,
    columns: kinds ? panels * PANEL : columns,
  };
}

function fillPanels(call: KernelCall, source: number, factor: RightFactor, to: number): void {
  const { dtype, matrices, matrixStride, inner } = factor;
  const panels = panelsOf(factor);
  const panelBytes = inner * PANEL_ROW_BYTES;
  const bytes = factorBytes(dtype);
  const list = Array.from({ length: matrices }, (_, matrix) => ({
    source: source + matrix * matrixStride * bytes,
    inner,
    to: to + matrix * panels * panelBytes,
    panels,
  }));
  if (inner > 0 && panels > 0) launchPack(call, dtype, list, layoutOf(factor, bytes));
}

function layoutOf(
  { columns, columnStride, innerStride, kinds }: RightFactor,
  bytes: number,
): PackLayout {
  const plain = plainLayout(columns, columnStride * bytes, innerStride * bytes, PANEL);
  if (kinds === undefined) return plain;
  const [low, high] = kinds.map((first) => first * bytes) as [number, number];
  return { ...plain, low, high, advance: PANEL / 2, lowCount: columns, highCount: columns };
}

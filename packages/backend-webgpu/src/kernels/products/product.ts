import type { Extent, KernelCall } from "../../kernel.ts";
import { type KernelText, type Operand, type Param, u32 } from "../../program.ts";
import { type Cut, PAIR } from "./cut.ts";
import { type Factor, readsNativeHalves } from "./factor.ts";
import { registerText } from "./registers.ts";
import type { RowText } from "./row-texts.ts";
import { sharingOf, sharingText } from "./sharing.ts";
import { type WorkgroupCut, invocationsOf, tileText, workgroupMemory } from "./tiles.ts";

/**
 * A product, tile by tile. The pieces of WGSL see `tile` (number of the tile of rows), `pair`
 * (number of the pair of column quads) and what `begin` declares.
 */
export interface ProductRequest {
  readonly name: string;
  /** What of the pieces the operands' types and the factors do not say. */
  readonly variant: string;
  readonly cut: Cut;
  readonly left: Factor;
  readonly right: Factor;
  /** Operands, those of the factors under the factors' names among them. */
  readonly operands: Readonly<Record<string, Operand>>;
  readonly params: Readonly<Record<string, Param>>;
  /** Tiles of rows. */
  readonly tiles: number;
  /** Pairs of column quads. */
  readonly pairs: number;
  readonly declarations: string;
  /**
   * Declares `first` and `limit` (rows of the tile), `end` (how many k) and whatever else the pieces
   * use; returns where the tile has nothing to do, which must not depend on the invocation.
   */
  readonly begin: string;
  /** The columns at which a pair's two quads begin. */
  readonly columns: (pair: string) => readonly [first: string, second: string];
  /** The rows of a tile in registers, at least `limit` where there is none; `first + i` unless given. */
  readonly rowAt?: RowText | undefined;
  /** Statements that store the sums `v0` and `v1` (the pair's quads) of `row`. */
  readonly store: string;
  /**
   * Where the sums go on from those of a dispatch before: their quad of `row` from `column` on.
   * Blocks must not be cut between dispatches.
   */
  readonly carried?: ((row: string, column: string) => string) | undefined;
}

/** Invocations of a workgroup that uses registers only: few, so that small products use all cores. */
const REGISTER_GROUP = 32;

/** Queues a product. */
export function multiply(call: KernelCall, request: ProductRequest): void {
  if (request.cut.kind === "registers") multiplyInRegisters(call, request, request.cut.rows);
  else multiplyTiles(call, request, request.cut);
}

function multiplyInRegisters(call: KernelCall, request: ProductRequest, rows: number): void {
  const { pairs, tiles } = request;
  const sharing = sharingOf(call.context, request, rows);
  if (sharing === undefined) {
    queue(call, request, {
      size: `r${rows}`,
      strips: 1,
      workgroupSize: REGISTER_GROUP,
      subgroups: false,
      text: () => ({ main: registerText(request, rows) }),
      extent: { invocations: tiles * pairs },
    });
    return;
  }
  const strips = Math.ceil(pairs / sharing.size);
  queue(call, request, {
    size: `r${rows}s${sharing.lanes}`,
    strips,
    workgroupSize: sharing.size,
    subgroups: true,
    text: () => ({ main: sharingText(request, sharing) }),
    extent: { groups: tiles * strips },
  });
}

function multiplyTiles(call: KernelCall, request: ProductRequest, cut: WorkgroupCut): void {
  const strips = Math.ceil((request.pairs * PAIR) / cut.columns);
  queue(call, request, {
    size: `w${cut.rows}x${cut.columns}`,
    strips,
    workgroupSize: invocationsOf(cut),
    subgroups: false,
    text: () => ({ declarations: workgroupMemory(cut), main: tileText(request, cut) }),
    extent: { groups: request.tiles * strips },
  });
}

/** What the two ways to cut differ in. */
interface Cutting {
  readonly size: string;
  /** Workgroups over all columns. */
  readonly strips: number;
  readonly workgroupSize: number;
  readonly subgroups: boolean;
  readonly text: () => KernelText;
  readonly extent: Extent;
}

function queue(call: KernelCall, request: ProductRequest, cutting: Cutting): void {
  const { name, left, right, operands, declarations, tiles, pairs } = request;
  const { size, strips, workgroupSize, subgroups, text, extent } = cutting;
  call.dispatch(
    {
      name,
      variant: `${size};${left.variant};${right.variant};${request.variant}`,
      operands,
      params: { ...request.params, tiles: u32(tiles), pairs: u32(pairs), strips: u32(strips) },
      workgroupSize,
      f16: readsNativeHalves(right),
      subgroups,
      text: () => {
        const own = text();
        return {
          declarations: `${left.declarations}\n${right.declarations}\n${declarations}\n${own.declarations ?? ""}`,
          main: own.main,
        };
      },
    },
    extent,
  );
}

import type { KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { read, u32, write } from "../../program.ts";

/** Invocations that map tiles. */
const MAPPERS = 64;
/** Words of a tile in the map: group, first row, row behind the group's last, nothing. */
export const TILE_WORDS = 4;

/**
 * Tiles of at most `rows` rows that never cross a group: so many are enough for `count` rows in
 * `groups` groups and the rows before and behind them, whatever the groups' sizes.
 */
export function tileBound(count: number, groups: number, rows: number): number {
  const spans = Math.min(groups + 2, count);
  return Math.floor((count + spans * (rows - 1)) / rows);
}

/**
 * WGSL, `map_tiles(lid)`: the tiles of all groups in order, those of the rows before and behind them
 * under the group `params.groups`, and unused ones under a group that there is not. Called by
 * {@link MAPPERS} invocations of one workgroup in uniform control flow. It takes `start_of(g)` (first
 * row of a group; that of `params.groups` is the end), `put_tile(t, tile)`, and `params.rows`,
 * `params.groups`, `params.tiles`, `params.tileRows`.
 */
const MAP_TILES: string = `
var<workgroup> tile_counts: array<u32, ${MAPPERS}>;
fn span_first(span: u32) -> u32 {
  if (span == 0u) { return 0u; }
  return min(start_of(span - 1u), params.rows);
}
fn span_end(span: u32) -> u32 {
  if (span > params.groups) { return params.rows; }
  return min(start_of(span), params.rows);
}
fn map_tiles(lid: u32) {
  let spans = params.groups + 2u;
  let each = (spans + ${MAPPERS - 1}u) / ${MAPPERS}u;
  let low = min(lid * each, spans);
  let high = min(low + each, spans);
  var count = 0u;
  for (var span = low; span < high; span++) {
    let first = span_first(span);
    count += (max(span_end(span), first) - first + params.tileRows - 1u) / params.tileRows;
  }
  tile_counts[lid] = count;
  workgroupBarrier();
  var at = 0u;
  var total = 0u;
  for (var i = 0u; i < ${MAPPERS}u; i++) {
    if (i == lid) { at = total; }
    total += tile_counts[i];
  }
  for (var span = low; span < high; span++) {
    let owner = select(span - 1u, params.groups, span == 0u);
    let limit = span_end(span);
    for (var first = span_first(span); first < limit; first += params.tileRows) {
      put_tile(at, vec4<u32>(owner, first, limit, 0u));
      at += 1u;
    }
  }
  for (var t = total + lid; t < params.tiles; t += ${MAPPERS}u) {
    put_tile(t, vec4<u32>(0xffffffffu, 0u, 0u, 0u));
  }
}`;

/** WGSL: a tile of the map that begins at word `params.tilesAt` of the operand `plan`. */
export const TILE_AT: string = `
fn tile_at(t: u32) -> vec4<u32> {
  let at = params.tilesAt + t * ${TILE_WORDS}u;
  return vec4<u32>(load_plan(at), load_plan(at + 1u), load_plan(at + 2u), 0u);
}`;

/** WGSL: writes a tile of the map at word `params.tilesAt` of the operand `plan`. */
const PUT_TILE = `
fn put_tile(t: u32, tile: vec4<u32>) {
  let at = params.tilesAt + t * ${TILE_WORDS}u;
  store_plan(at, tile.x); store_plan(at + 1u, tile.y); store_plan(at + 2u, tile.z);
}`;

/** Rows in groups, cut into tiles. */
export interface RowTiling {
  /** Rows, those in no group among them. */
  readonly rows: number;
  readonly groups: number;
  readonly tileRows: number;
}

/** Writes the map of tiles for `offsets [groups + 1]`, in the device's memory, into `plan`. */
export function mapTiles(
  call: KernelCall,
  offsets: GpuHandle,
  { rows, groups, tileRows }: RowTiling,
  plan: { readonly handle: GpuHandle; readonly tilesAt: number },
): void {
  call.dispatch(
    {
      name: "mapTiles",
      operands: { offsets: read(offsets, "i32"), plan: write(plan.handle, "u32") },
      params: {
        rows: u32(rows),
        groups: u32(groups),
        tiles: u32(tileBound(rows, groups, tileRows)),
        tileRows: u32(tileRows),
        tilesAt: u32(plan.tilesAt),
      },
      workgroupSize: MAPPERS,
      text: () => ({
        declarations: `fn start_of(g: u32) -> u32 { return u32(max(load_offsets(g), 0)); }
${PUT_TILE}${MAP_TILES}`,
        main: "map_tiles(lid);",
      }),
    },
    { groups: 1 },
  );
}

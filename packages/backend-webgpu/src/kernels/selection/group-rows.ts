import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { type Operand, read, u32, write } from "../../program.ts";
import { sortRows } from "./sort.ts";

/** The outputs of `groupRows`, all i32. */
export interface GroupedRows {
  /** `[A]`. */
  readonly order: GpuHandle;
  /** `[A]`. */
  readonly inverse: GpuHandle;
  /** `[groups + 1]`. */
  readonly offsets: GpuHandle;
  /** `[A]`. */
  readonly group: GpuHandle;
}

/** Up to so many comparisons everything is counted by everyone, in one dispatch. */
const SMALL_WORK = 2 ** 18;
/** Up to so many groups each chunk has a table of their counts; beyond, assignments are sorted. */
const TABLE_GROUPS = 256;
/** Invocations that scan the table of counts. */
const SCANNERS = 256;

/** `groupRows`. */
export const groupRows: Kernel = (call) => {
  const { groups } = call.attributes<{ groups: number }>();
  const ids = call.input(0);
  const rows = {
    order: call.make(0),
    inverse: call.make(1),
    offsets: call.make(2),
    group: call.make(3),
  };
  groupAssignments(call, ids.handle, ids.size, groups, rows);
  return [rows.order, rows.inverse, rows.offsets, rows.group];
};

/**
 * Stable counting sort of `count` assignments by their id (i32) into what core's `groupRows`
 * describes. Nothing depends on the order in which invocations run. One dispatch for few assignments,
 * three for up to 256 groups, else a sort.
 */
export function groupAssignments(
  call: KernelCall,
  ids: GpuHandle,
  count: number,
  groups: number,
  rows: GroupedRows,
): void {
  if (count * (count + groups) <= SMALL_WORK) countAll(call, ids, count, groups, rows);
  else if (groups <= TABLE_GROUPS) countChunks(call, ids, count, groups, rows);
  else sortAssignments(call, ids, count, groups, rows);
}

function targets({ order, inverse, group }: GroupedRows): Record<string, Operand> {
  return {
    order: write(order, "u32"),
    inverse: write(inverse, "u32"),
    member: write(group, "u32"),
  };
}

/** WGSL: the group of an assignment; `groups` where there is none. */
const GROUP_OF = `
fn group_of(a: u32) -> u32 {
  let id = load_ids(a);
  return select(u32(id), params.groups, id < 0 || u32(id) >= params.groups);
}
`;

/** WGSL: puts assignment `a` of group `own` into a row, or notes that it has none. */
const PLACE = `
fn place_assignment(a: u32, own: u32, row: u32) {
  if (own >= params.groups) {
    store_inverse(a, params.count);
    return;
  }
  store_order(row, a);
  store_member(row, own);
  store_inverse(a, row);
}
fn close_row(row: u32, live: u32) {
  if (row < live) { return; }
  store_order(row, params.count);
  store_member(row, params.groups);
}
`;

function countAll(
  call: KernelCall,
  ids: GpuHandle,
  count: number,
  groups: number,
  rows: GroupedRows,
): void {
  call.dispatch(
    {
      name: "groupRowsSmall",
      operands: { ids: read(ids, "i32"), ...targets(rows), offsets: write(rows.offsets, "u32") },
      params: { count: u32(count), groups: u32(groups) },
      text: () => ({
        declarations: GROUP_OF + PLACE,
        main: `
if (index <= params.groups) {
  var below = 0u;
  for (var a = 0u; a < params.count; a++) { below += select(0u, 1u, group_of(a) < index); }
  store_offsets(index, below);
}
if (index >= params.count) { return; }
let own = group_of(index);
var row = 0u;
var live = 0u;
for (var a = 0u; a < params.count; a++) {
  let other = group_of(a);
  if (other < params.groups) { live += 1u; }
  if (other < own || (other == own && a < index)) { row += 1u; }
}
place_assignment(index, own, row);
close_row(index, live);`,
      }),
    },
    { invocations: Math.max(count, groups + 1) },
  );
}

/** Assignments of a chunk: about as many as there are chunks. */
function chunkFor(count: number): number {
  return Math.min(1024, Math.max(64, 2 ** Math.ceil(Math.log2(Math.sqrt(count)))));
}

function countChunks(
  call: KernelCall,
  ids: GpuHandle,
  count: number,
  groups: number,
  rows: GroupedRows,
): void {
  const chunk = chunkFor(count);
  const chunks = Math.ceil(count / chunk);
  const table = call.temporary({ shape: [chunks * groups], dtype: "u32" });
  const params = {
    count: u32(count),
    groups: u32(groups),
    chunk: u32(chunk),
    chunks: u32(chunks),
  };
  call.dispatch(
    {
      name: "groupRowsCount",
      operands: { ids: read(ids, "i32"), table: write(table, "u32") },
      params,
      text: () => ({
        main: `if (index >= params.chunks * params.groups) { return; }
let own = i32(index % params.groups);
let first = index / params.groups * params.chunk;
let last = min(params.count, first + params.chunk);
var number = 0u;
for (var a = first; a < last; a++) { number += select(0u, 1u, load_ids(a) == own); }
store_table(index, number);`,
      }),
    },
    { invocations: chunks * groups },
  );
  call.dispatch(
    {
      name: "groupRowsScan",
      workgroupSize: SCANNERS,
      operands: { table: write(table, "u32"), offsets: write(rows.offsets, "u32") },
      params,
      text: () => ({
        declarations: `var<workgroup> totals: array<u32, ${SCANNERS}>;`,
        main: `
var before = 0u;
if (lid < params.groups) {
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let place = chunk * params.groups + lid;
    let number = load_table(place);
    store_table(place, before);
    before += number;
  }
}
totals[lid] = before;
workgroupBarrier();
if (lid == 0u) {
  var offset = 0u;
  for (var own = 0u; own < params.groups; own++) {
    store_offsets(own, offset);
    offset += totals[own];
  }
  store_offsets(params.groups, offset);
}`,
      }),
    },
    { groups: 1 },
  );
  call.dispatch(
    {
      name: "groupRowsScatter",
      operands: {
        ids: read(ids, "i32"),
        table: read(table, "u32"),
        offsets: read(rows.offsets, "u32"),
        ...targets(rows),
      },
      params,
      text: () => ({
        declarations: GROUP_OF + PLACE,
        main: `if (index >= params.count) { return; }
let own = group_of(index);
var row = 0u;
if (own < params.groups) {
  let chunk = index / params.chunk;
  row = load_offsets(own) + load_table(chunk * params.groups + own);
  for (var a = chunk * params.chunk; a < index; a++) {
    row += select(0u, 1u, group_of(a) == own);
  }
}
place_assignment(index, own, row);
close_row(index, load_offsets(params.groups));`,
      }),
    },
    { invocations: count },
  );
}

function sortAssignments(
  call: KernelCall,
  ids: GpuHandle,
  count: number,
  groups: number,
  rows: GroupedRows,
): void {
  sortRows(call, {
    name: "groupRows",
    rows: 1,
    width: count,
    sources: { ids: read(ids, "i32") },
    results: targets(rows),
    params: { groups: u32(groups) },
    keys: `${GROUP_OF}
fn key_of(place: u32) -> u32 { return group_of(place); }
fn tag_of(place: u32, i: u32) -> u32 { return i; }
`,
    finish: `
fn finish(row: u32, rank: u32, key: u32, tag: u32) {
  let live = key < params.groups;
  store_order(rank, select(params.width, tag, live));
  store_member(rank, key);
  store_inverse(tag, select(params.width, rank, live));
}`,
  });
  call.dispatch(
    {
      name: "groupRowsOffsets",
      operands: { member: read(rows.group, "u32"), offsets: write(rows.offsets, "u32") },
      params: { count: u32(count), groups: u32(groups) },
      text: () => ({
        main: `if (index > params.groups) { return; }
var low = 0u;
var high = params.count;
while (low < high) {
  let middle = (low + high) / 2u;
  if (load_member(middle) < index) { low = middle + 1u; } else { high = middle; }
}
store_offsets(index, low);`,
      }),
    },
    { invocations: groups + 1 },
  );
}

import type { Kernel } from "./kernel.ts";

/**
 * Sorts 0 … A − 1 by id, stably, by counting: for each row the assignment that stands there, for
 * each assignment its row, where each group begins, and the group of each row. Rows beyond the last
 * group hold assignment A and group `groups`; an assignment whose id is no group has row A.
 */
export const groupRows: Kernel = (call) => {
  const { groups } = call.attributes<{ groups: number }>();
  const { array: ids } = call.input(0);
  const buffers = call.outputs.map((_, index) => call.make(index));
  const [order, inverse, offsets, group] = call.outputs.map(
    ({ shape }, index) => new Int32Array(buffers[index]!.block, 0, shape[0]),
  ) as [Int32Array, Int32Array, Int32Array, Int32Array];

  const isGroup = (id: number): boolean => id >= 0 && id < groups;
  const counts = new Int32Array(groups);
  for (const id of ids) if (isGroup(id)) counts[id]!++;
  offsets[0] = 0;
  for (let id = 0; id < groups; id++) offsets[id + 1] = offsets[id]! + counts[id]!;

  order.fill(ids.length);
  inverse.fill(ids.length);
  group.fill(groups);
  const next = offsets.slice(0, groups);
  for (let assignment = 0; assignment < ids.length; assignment++) {
    const id = ids[assignment]!;
    if (!isGroup(id)) continue;
    const row = next[id]!++;
    order[row] = assignment;
    inverse[assignment] = row;
    group[row] = id;
  }
  return buffers;
};

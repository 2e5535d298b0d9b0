import type { Kernel, KernelCall, Result } from "./kernel.ts";

/** The assignments by id, each id's in their order. */
export const groupRows: Kernel = (call: KernelCall) => {
  const { groups } = call.attributes<{ groups: number }>();
  const ids = call.input(0);
  const [order, inverse, offsets, group] = call.specs.map((_, index) => call.result(index)) as [
    Result,
    Result,
    Result,
    Result,
  ];
  // One uncertain id may shift every row.
  const bound = ids.bounds?.some((own) => own !== 0) ? Infinity : 0;
  const members = Array.from({ length: groups }, (): number[] => []);
  for (let assignment = 0; assignment < ids.size; assignment++) {
    members[ids.value(assignment)]?.push(assignment);
    inverse.set(assignment, ids.size, bound);
  }
  let row = 0;
  offsets.set(0, 0, 0);
  for (const [id, own] of members.entries()) {
    for (const assignment of own) {
      order.set(row, assignment, bound);
      inverse.set(assignment, row, bound);
      group.set(row, id, bound);
      row++;
    }
    offsets.set(id + 1, row, bound);
  }
  for (; row < ids.size; row++) {
    order.set(row, ids.size, bound);
    group.set(row, groups, bound);
  }
  return [order, inverse, offsets, group];
};

import { type Tensor, countIds, groupRows, binary, slice } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { tokenCounts } from "./l1-route-shapes.ts";
import { upTo } from "./l1-support.ts";
import { MANY, permuteCase } from "./l2-support.ts";

/** All outputs, under names. */
function grouped(ids: Tensor, groups: number): Record<string, Tensor> {
  const [order, inverse, offsets, group] = groupRows(ids, { groups });
  return { order, inverse, offsets, group };
}

function groupCase(
  id: string,
  demand: string,
  groups: number,
  make: (test: CaseContext) => HostTensor,
): ConformanceCase {
  return permuteCase(`group-rows/${id}`, demand, [groupRows], async (test) => {
    await test.compare({ ids: make(test) }, ({ inputs: { ids } }) => grouped(ids, groups));
  });
}

const sizes = [0, 1, 2, 31, 33, 63, 65, 255, 257, 1023, 1025, 4097].map((count) =>
  groupCase(`rows-${count}`, `${count} assignments are sorted by their id`, 8, ({ random }) =>
    random.integers([count], 0, 7),
  ),
);

const counts = [1, 2, 7, 33, 64, 129, 288, 1025].map((groups) =>
  groupCase(
    `groups-${groups}`,
    `assignments are sorted into ${groups} groups`,
    groups,
    ({ random }) => random.integers([513], 0, groups - 1),
  ),
);

/** The stable counting sort. */
export const groupRowsCases: readonly ConformanceCase[] = [
  ...sizes,
  ...counts,
  permuteCase(
    "group-rows/stable",
    "assignments of one group stay in their order",
    [groupRows],
    async (test) => {
      const ids = test.random.integers([1025], 0, 2);
      const { order, offsets } = await test.observe({ ids }, ({ inputs: { ids } }) => {
        const [order, , offsets] = groupRows(ids, { groups: 3 });
        return { order, offsets };
      });
      for (const group of upTo(3)) {
        const rows = [...order.data.subarray(offsets.data[group], offsets.data[group + 1])];
        const wanted = upTo(1025).filter((assignment) => ids.data[assignment] === group);
        test.expect(
          rows.join() === wanted.join(),
          `group ${group} has its ${wanted.length} assignments in another order, or others`,
        );
      }
    },
  ),
  groupCase("all-to-one", "all assignments go to one group", 8, () =>
    generated([513], "i32", () => 5),
  ),
  groupCase("all-to-last", "all assignments go to the last group", 64, () =>
    generated([129], "i32", () => 63),
  ),
  groupCase(
    "one-empty",
    "a group without assignments begins and ends at one place",
    8,
    ({ random }) => {
      const ids = random.integers([257], 0, 6);
      return generated([257], "i32", (index) => ((ids.data[index] ?? 0) + 4) % 8);
    },
  ),
  groupCase("most-empty", "of 288 groups two have assignments", 288, ({ random }) => {
    const ids = random.bools([129]);
    return generated([129], "i32", (index) => (ids.data[index] === 1 ? 287 : 31));
  }),
  groupCase("ascending", "what is sorted stays as it is", 33, () =>
    generated([330], "i32", (index) => Math.floor(index / 10)),
  ),
  groupCase("descending", "what is sorted the other way is turned round", 33, () =>
    generated([330], "i32", (index) => 32 - Math.floor(index / 10)),
  ),
  groupCase(
    "out-of-range",
    "an id outside the groups is in none: its inverse is A, and the rows behind hold A and `groups`",
    8,
    ({ random }) => random.integers([257], -3, 11),
  ),
  groupCase("extreme-ids", "the ends of i32 are no groups", 3, () =>
    hostTensor([2 ** 31 - 1, 0, -(2 ** 31), 2, 3, -1, 1, 65_536, 0], "i32"),
  ),
  groupCase("none-in-a-group", "no assignment need be in a group", 4, () =>
    generated([33], "i32", (index) => (index % 2 === 0 ? 4 : -1)),
  ),
  groupCase("no-groups", "with 0 groups no assignment is in one", 0, () =>
    generated([9], "i32", (index) => index % 3),
  ),
  groupCase("many", `${MANY} assignments are sorted, the last too`, 64, ({ random }) =>
    random.integers([MANY], -1, 64),
  ),
  groupCase("many-to-one", `${MANY} assignments go to one group`, 8, () =>
    generated([MANY], "i32", () => 3),
  ),
  permuteCase(
    "group-rows/around-tiles",
    "every assignment is sorted where their number is around a tile",
    [groupRows],
    async (test) => {
      for (const count of tokenCounts(test.capabilities)) {
        const ids = test.random.integers([count], -1, 8);
        await test.compare({ ids }, ({ inputs: { ids } }) => grouped(ids, 8));
      }
    },
  ),
  permuteCase(
    "count-ids/counts",
    "countIds counts each id below the number of groups, and no other",
    [groupRows, slice, binary],
    async (test) => {
      const ids = test.random.integers([513], -3, 11);
      await test.compare({ ids }, ({ inputs: { ids } }) => ({ counts: countIds(ids, 8) }));
    },
  ),
];

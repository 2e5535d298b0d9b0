import { segmentSum } from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated, hostTensor } from "../host-tensor.ts";
import { MANY, permuteCase } from "./l2-support.ts";

function segmentCase(
  id: string,
  demand: string,
  segments: number,
  make: (test: CaseContext) => { readonly rows: HostTensor; readonly ids: HostTensor },
): ConformanceCase {
  return permuteCase(`segment-sum/${id}`, demand, [segmentSum], async (test) => {
    await test.compare(make(test), ({ inputs: { rows, ids } }) => ({
      y: segmentSum(rows, ids, { segments }),
    }));
  });
}

/** Ascending ids from `low` to `high`, some more often than others. */
function ascending({ random }: CaseContext, count: number, low: number, high: number): HostTensor {
  const drawn = random.integers([count], low, high);
  return hostTensor(
    [...drawn.data].sort((a, b) => a - b),
    "i32",
  );
}

/** Sums of rows by sorted id. */
export const segmentSumCases: readonly ConformanceCase[] = [
  segmentCase("values", "segmentSum adds the rows of each id", 17, (test) => ({
    rows: test.random.normal([129, 5]),
    ids: ascending(test, 129, 0, 16),
  })),
  segmentCase(
    "exact",
    "segmentSum of dyadic rows is exact: no row is lost or counted twice",
    9,
    (test) => ({
      rows: test.random.dyadic([257, 33]),
      ids: ascending(test, 257, 0, 8),
    }),
  ),
  segmentCase("empty-segments", "a segment without rows is zero", 64, (test) => ({
    rows: test.random.dyadic([17, 3]),
    ids: ascending(test, 17, 20, 40),
  })),
  segmentCase("skipped-ids", "rows whose id is outside the segments are skipped", 5, (test) => ({
    rows: test.random.dyadic([65, 3]),
    ids: ascending(test, 65, -4, 9),
  })),
  segmentCase("extreme-ids", "the ends of i32 are outside the segments", 3, (test) => ({
    rows: test.random.dyadic([6, 3]),
    ids: hostTensor([-(2 ** 31), -1, 0, 2, 3, 2 ** 31 - 1], "i32"),
  })),
  segmentCase("all-skipped", "where all ids are outside every segment is zero", 4, (test) => ({
    rows: test.random.dyadic([9, 3]),
    ids: generated([9], "i32", () => 4),
  })),
  segmentCase("one-huge", "one segment takes 5000 rows, the others none", 3, (test) => ({
    rows: test.random.uniform([5000, 3], 0, 1),
    ids: generated([5000], "i32", () => 1),
  })),
  segmentCase("each-its-own", "each row in a segment of its own is copied", 129, (test) => ({
    rows: test.random.normal([129, 7]),
    ids: generated([129], "i32", (index) => index),
  })),
  segmentCase("no-rows", "without rows every segment is zero", 4, () => ({
    rows: hostTensor([], "f32", [0, 3]),
    ids: hostTensor([], "i32", [0]),
  })),
  segmentCase("no-segments", "without segments the result is empty", 0, (test) => ({
    rows: test.random.normal([5, 3]),
    ids: ascending(test, 5, 0, 2),
  })),
  segmentCase("vector", "segmentSum adds single numbers", 5, (test) => ({
    rows: test.random.dyadic([33]),
    ids: ascending(test, 33, 0, 4),
  })),
  segmentCase("rank-3", "segmentSum adds planes", 5, (test) => ({
    rows: test.random.dyadic([33, 2, 3]),
    ids: ascending(test, 33, 0, 4),
  })),
  segmentCase("many", `segmentSum adds ${MANY} rows, the last too`, MANY, (test) => ({
    rows: test.random.dyadic([MANY]),
    ids: ascending(test, MANY, 0, MANY - 1),
  })),
];

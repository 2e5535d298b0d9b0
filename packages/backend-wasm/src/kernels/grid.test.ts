import { describe, expect, it } from "vitest";
import { broadcastStrides, gridOf } from "./grid.ts";

describe("gridOf", () => {
  it.each([
    ["merges what all walk as one", [2, 3, 4], [[12, 4, 1]], [24], [[1]]],
    ["leaves out axes of one", [2, 1, 4], [[4, 9, 1]], [8], [[1]]],
    ["keeps an axis", [1, 1], [[5, 5]], [1], [[1]]],
    ["keeps an axis of rank 0", [], [[]], [1], [[1]]],
    ["keeps an axis of none", [3, 0], [[0, 1]], [0], [[1]]],
    [
      "keeps apart what one walks apart",
      [2, 3, 4],
      [
        [12, 4, 1],
        [4, 0, 1],
      ],
      [2, 3, 4],
      [
        [12, 4, 1],
        [4, 0, 1],
      ],
    ],
    [
      "merges repeated axes",
      [2, 3, 4],
      [
        [12, 4, 1],
        [0, 0, 1],
      ],
      [6, 4],
      [
        [4, 1],
        [0, 1],
      ],
    ],
  ])("%s", (_, shape, strides, sizes, merged) => {
    expect(gridOf(shape, strides)).toEqual({ sizes, strides: merged });
  });
});

describe("broadcastStrides", () => {
  it.each([
    [[4], [2, 4], [0, 1]],
    [
      [2, 1],
      [2, 4],
      [1, 0],
    ],
    [[], [3], [0]],
    [
      [3, 1, 2],
      [3, 5, 2],
      [2, 0, 1],
    ],
  ])("%j along %j", (from, to, strides) => {
    expect(broadcastStrides(from, to)).toEqual(strides);
  });
});

import { ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { addLoads, loadStatistics, specialisation } from "./loads.ts";

describe("loadStatistics", () => {
  it("is 1 where the load is even", () => {
    const found = loadStatistics([5, 5, 5, 5]);
    expect(found.imbalance).toBe(1);
    expect(found.evenness).toBeCloseTo(1, 12);
    expect(found.dead).toEqual([]);
    expect(found.starved).toEqual([]);
  });

  it("tells dead from starved experts", () => {
    // An even share is 250; a tenth of it 25.
    const found = loadStatistics([0, 24, 25, 951]);
    expect(found.dead).toEqual([0]);
    expect(found.starved).toEqual([0, 1]);
    expect(found.imbalance).toBeCloseTo(3.804, 12);
    expect(found.busiest).toEqual({ expert: 3, share: 0.951 });
    expect(found.idlest).toEqual({ expert: 0, share: 0 });
  });

  it("is the number of experts, and evenness 0, where one takes all", () => {
    const found = loadStatistics([0, 7, 0]);
    expect(found.imbalance).toBeCloseTo(3, 12);
    expect(found.evenness).toBeCloseTo(0, 12);
  });

  it("takes a single expert for even", () => {
    expect(loadStatistics([9])).toMatchObject({ imbalance: 1, evenness: 1 });
  });

  it("calls all experts dead where nothing was assigned", () => {
    const nothing = { shares: [0, 0], imbalance: 0, evenness: 0, dead: [0, 1], starved: [0, 1] };
    expect(loadStatistics([0, 0])).toMatchObject(nothing);
    expect(
      specialisation([
        [0, 0],
        [0, 0],
      ]),
    ).toMatchObject({ information: 0, favourites: [] });
  });

  it("refuses a load of no experts", () => {
    expect(() => loadStatistics([])).toThrow(ShapeError);
  });
});

describe("specialisation", () => {
  it("tells one bit where two experts divide two domains between them", () => {
    const found = specialisation([
      [10, 0],
      [0, 30],
    ]);
    expect(found.shares).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(found.information).toBeCloseTo(1, 12);
    expect(found.ceiling).toBe(1);
    expect(found.favourites.map(({ domain, expert }) => [domain, expert])).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(found.favourites[0]).toMatchObject({ share: 1, multiple: 2 });
  });

  it("tells nothing where all domains use the experts alike, however unevenly", () => {
    const found = specialisation([
      [9, 1, 0],
      [18, 2, 0],
    ]);
    expect(found.information).toBeCloseTo(0, 12);
    expect(found.favourites).toEqual([]);
  });

  it("has no ceiling with a single domain", () => {
    expect(specialisation([[1, 2, 3]])).toMatchObject({ information: 0, ceiling: 0 });
  });
});

describe("addLoads", () => {
  it("adds place by place and leaves its inputs alone", () => {
    const first = [1, 2];
    expect(addLoads([first, [10, 20], [100, 200]])).toEqual([111, 222]);
    expect(first).toEqual([1, 2]);
  });
});

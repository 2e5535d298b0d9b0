import { describe, expect, it } from "vitest";
import { difference, orNull } from "./shape-check.ts";

describe("difference", () => {
  const example = { name: "a", sizes: { width: 1 }, list: [[1]], maybe: orNull("text") };

  it("finds none in a value of the same make", () => {
    const value = { name: "b", sizes: { width: 7 }, list: [[], [2, 3]], maybe: null, more: true };
    expect(difference(example, value)).toBeNull();
    expect(difference(example, { ...value, maybe: "x" })).toBeNull();
  });

  it.each([
    [{ sizes: { width: 1 }, list: [], maybe: null }, "name is missing"],
    [{ name: 3, sizes: { width: 1 }, list: [], maybe: null }, "name is not a string"],
    [{ name: "", sizes: { width: "1" }, list: [], maybe: null }, "sizes.width is not a number"],
    [{ name: "", sizes: null, list: [], maybe: null }, "sizes is not an object"],
    [
      { name: "", sizes: { width: 1 }, list: [[1, "2"]], maybe: null },
      "list[0][1] is not a number",
    ],
    [{ name: "", sizes: { width: 1 }, list: {}, maybe: null }, "list is not a list"],
    [{ name: "", sizes: { width: 1 }, list: [], maybe: 4 }, "maybe is not a string"],
    [7, "it is not an object"],
  ])("of %j is named", (value, expected) => {
    expect(difference(example, value)).toBe(expected);
  });
});

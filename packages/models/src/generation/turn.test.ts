import { afterEach, describe, expect, it, vi } from "vitest";
import { turn } from "./turn.ts";

afterEach(() => vi.unstubAllGlobals());

describe.each<[string, readonly string[]]>([
  ["setImmediate", []],
  ["messages", ["setImmediate"]],
  ["a timer", ["setImmediate", "MessageChannel"]],
])("turn by %s", (_, missing) => {
  it("lets what waits go first", async () => {
    const { setTimeout } = globalThis;
    for (const name of missing) vi.stubGlobal(name, undefined);
    const timer = { isOver: false };
    setTimeout(() => {
      timer.isOver = true;
    }, 0);
    // Promises alone would never let the timer come.
    for (let turns = 0; turns < 100_000 && !timer.isOver; turns++) await turn();
    expect(timer.isOver).toBe(true);
  });
});

import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { abortOnInterrupt } from "./interrupts.ts";

describe("abortOnInterrupt", () => {
  it("aborts first, takes an echo for the same, and quits at a later interrupt", () => {
    const source = new EventEmitter();
    let time = 0;
    let quits = 0;
    const signal = abortOnInterrupt(
      source,
      () => time,
      () => (quits += 1),
    );
    expect(signal.aborted).toBe(false);
    source.emit("SIGINT");
    expect(signal.aborted).toBe(true);
    time = 300;
    source.emit("SIGTERM");
    expect(quits).toBe(0);
    time = 2000;
    source.emit("SIGINT");
    expect(quits).toBe(1);
  });
});

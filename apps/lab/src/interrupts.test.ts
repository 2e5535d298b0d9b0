import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { abortOnInterrupt } from "./interrupts.ts";

describe("abortOnInterrupt", () => {
  it("aborts first, takes an echo for the same, and quits at a later interrupt", () => {
    const source = new EventEmitter();
    const said: string[] = [];
    let time = 0;
    let quits = 0;
    const signal = abortOnInterrupt(
      source,
      () => time,
      (text) => said.push(text),
      () => (quits += 1),
    );
    expect(signal.aborted).toBe(false);
    source.emit("SIGINT");
    expect(signal.aborted).toBe(true);
    time = 300;
    source.emit("SIGTERM");
    expect(quits).toBe(0);
    expect(said).toHaveLength(1);
    time = 2000;
    source.emit("SIGINT");
    expect(quits).toBe(1);
  });
});

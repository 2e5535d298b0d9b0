import { lossCatalogue } from "@moiety/losses";
import { describe, expect, it } from "vitest";
import type { LossConfig } from "./config.ts";
import { routingLoss } from "./losses.ts";

/** Losses that need what no configuration knows, or that are several. */
const absent = new Set(["globalBatchBalance", "reinforceLoss", "vmoeLosses"]);

describe("routingLoss", () => {
  const options = { coefficient: 0.5, devices: 2, topK: 2 };

  it.each(lossCatalogue.map(({ name }) => name).filter((name) => !absent.has(name)))(
    "makes %s",
    (kind) => {
      const { name, coefficient } = routingLoss({ kind, ...options } as LossConfig);
      expect([name, coefficient]).toEqual([kind, 0.5]);
    },
  );

  it.each([...absent, "toString"])("refuses %s", (kind) => {
    const make = (): unknown => routingLoss({ kind, ...options } as unknown as LossConfig);
    expect(make).toThrow(expect.objectContaining({ key: "losses.kind", value: kind }));
  });
});

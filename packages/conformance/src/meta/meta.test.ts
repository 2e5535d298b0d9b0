import { readFileSync, readdirSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { allCases } from "../catalogue.ts";
import { summarize } from "../summary.ts";
import { allBroken } from "./all-broken.ts";
import { MetaBench } from "./testing/meta-bench.ts";

/** Milliseconds that a run of the whole kit may take on a machine that is busy with other tests. */
const PATIENCE = 900_000;
/** Share of the other cases that must pass: a fault is found where it is, not everywhere. */
const OTHERS = 0.8;

const files = readdirSync(new URL(".", import.meta.url))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => file.slice(0, -3))
  .filter((name) => name !== "all-broken");

/** The rows of the table of faults, cell by cell. */
function rowsOf(readme: string): string[][] {
  const lines = readme.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe("the list of broken backends", () => {
  it("has each in a file of its own, and all of them", () => {
    expect(allBroken.map(({ name }) => name)).toEqual(files.toSorted());
    expect(allBroken.length).toBeGreaterThanOrEqual(30);
  });

  it("names cases that there are, in sentences that are each their own", () => {
    const ids = new Set(allCases.map(({ id }) => id));
    for (const { name, caughtBy } of allBroken) expect(ids.has(caughtBy), name).toBe(true);
    expect(new Set(allBroken.map(({ fault }) => fault)).size).toBe(allBroken.length);
  });

  it("is the table of the README", () => {
    const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");
    const wanted = allBroken.map(({ name, fault, caughtBy }) => [
      `[${name}](./${name}.ts)`,
      fault,
      `\`${caughtBy}\``,
    ]);
    expect(rowsOf(readme)).toEqual(wanted);
  });
});

describe("the kit", () => {
  const bench = new MetaBench(allBroken.map(({ caughtBy }) => caughtBy));

  beforeAll(() => bench.unbroken(), PATIENCE);

  it("passes the backend without a fault", async () => {
    const report = await bench.unbroken();
    expect(report.verdict, summarize(report)).toBe("pass");
  });

  it(
    "gives the same where cases in which a fault cannot show are run all the same",
    async () => {
      for (const broken of allBroken.filter(({ name }) => name === "writes-out-of-bounds")) {
        const [part, whole] = [
          await bench.run(broken, "touched"),
          await bench.run(broken, "whole"),
        ];
        expect(whole.report.cases.length).toBeGreaterThan(part.report.cases.length);
        expect(whole.failing).toEqual(part.failing);
        expect(whole.othersPassing).toBeCloseTo(part.othersPassing, 12);
      }
      expect.assertions(3);
    },
    PATIENCE,
  );

  it.each(allBroken)(
    "catches $name by $caughtBy",
    async (broken) => {
      const { report, named, othersPassing, failing } = await bench.run(broken);
      expect(report.verdict).toBe("fail");
      expect(named?.status, `${named?.reason}; failing: ${failing.join(", ")}`).toBe("fail");
      expect(othersPassing, `failing: ${failing.join(", ")}`).toBeGreaterThanOrEqual(OTHERS);
    },
    PATIENCE,
  );
});

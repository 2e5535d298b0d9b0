import { allCases } from "@moiety/conformance";
import * as banks from "@moiety/experts";
import { controllerCatalogue, lossCatalogue } from "@moiety/losses";
import * as routers from "@moiety/routers";
import { describe, expect, it } from "vitest";
import { complaints, hold, noting } from "../../../../conformance/src/cases/testing/hold.ts";
import { planted } from "../../../../conformance/src/cases/testing/planted.ts";
import { catalogueCases } from "./index.ts";

const ids = new Set(catalogueCases.map(({ id }) => id));
const missing = (wanted: readonly string[]): string[] => wanted.filter((id) => !ids.has(id));

describe("cases of the catalogue", () => {
  it("pass on the oracle, held to the yardstick, and name every kernel that they call", async () => {
    const { make, begin, unnamed } = noting();
    const report = await hold(catalogueCases, make, {
      expected: "yardstick",
      onProgress: ({ running }) => running !== undefined && begin(running),
    });
    expect(complaints(report)).toEqual([]);
    expect(report.counts.pass).toBe(catalogueCases.length);
    expect(unnamed(catalogueCases)).toEqual([]);
  }, 240_000);

  it("stand beside those of the kit under ids of their own", () => {
    expect(ids.size).toBe(catalogueCases.length);
    expect(allCases.filter(({ id }) => ids.has(id))).toEqual([]);
    for (const id of ids) expect(id).toMatch(/^L[1-4]\/(grad\/)?catalogue\/[\w-]+$/u);
  });

  it("belong to inference where they run forward, and to training where they have gradients", () => {
    for (const { id, extension } of catalogueCases) {
      expect([id, extension]).toEqual([id, id.includes("/grad/") ? "grad" : undefined]);
    }
  });

  it("are there for every router, on its own and in a layer", () => {
    const levels = ["L1", "L1/grad", "L2", "L4", "L4/grad"];
    const wanted = routers.routerCatalogue.flatMap(({ name }) =>
      levels.map((level) => `${level}/catalogue/${name}`),
    );
    expect(missing(wanted)).toEqual([]);
  });

  it("are there for every bank that the package makes, and for shared and attention experts", () => {
    /** Branches, and a layer, that are held as layers alone, and what is no bank. */
    const layersAlone = ["attentionExperts", "denseFfn", "moa", "sharedExpert"];
    const others = [...layersAlone, "hostQuantize", "matrixParameter", "throughRows"];
    const made = Object.keys(banks).filter((name) => !others.includes(name));
    const wanted = made.flatMap((name) =>
      ["L3", "L3/grad", "L4", "L4/grad"].map((level) => `${level}/catalogue/${name}`),
    );
    expect(missing(wanted)).toEqual([]);
    const layers = ["attentionExperts", "sharedExpert-add", "sharedExpert-softmax2"];
    expect(missing(layers.map((name) => `L4/grad/catalogue/${name}`))).toEqual([]);
  });

  it("are there for every loss and controller", () => {
    const losses = lossCatalogue.flatMap(({ name }) => [
      `L4/catalogue/${name}`,
      `L4/grad/catalogue/${name}`,
    ]);
    const controllers = [...controllerCatalogue.map(({ name }) => name), "thresholdController"];
    const steps = controllers.map((name) => `L4/catalogue/${name}`);
    expect(missing([...losses, ...steps])).toEqual([]);
  });

  it("catch a backend whose cumulative sums are off, in the routers that count by them", async () => {
    const caught = ["L1/grad/catalogue/forcedBalanceRouter"];
    const spared = ["L1/grad/catalogue/mixtralRouter", "L3/catalogue/glu"];
    const report = await hold(
      catalogueCases,
      () => planted("cumsum", ({ integers }) => void integers(0).reverse()),
      { cases: [...caught, ...spared] },
    );
    const failed = report.cases.filter(({ status }) => status === "fail").map(({ id }) => id);
    expect(failed).toEqual(caught);
  });

  it("catch a backend whose grouped products leave out their last column", async () => {
    const report = await hold(
      catalogueCases,
      () =>
        planted("groupedMatmul", ({ floats }) => {
          const values = floats(0);
          values[values.length - 1] = 0;
          values[0] = (values[0] ?? 0) * 1.001;
        }),
      { cases: ["L3/catalogue/"] },
    );
    expect(report.counts.pass).toBe(0);
    expect(report.counts.fail).toBe(report.cases.length);
  }, 60_000);
});

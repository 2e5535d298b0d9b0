import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findBrowser, runPage } from "../../../backend-webgpu/src/browser/testing/page.ts";
import { create } from "../index.ts";
import { type ComputeReport, run } from "./testing/compute-page.ts";

const found = await findBrowser();
const page = fileURLToPath(new URL("testing/compute-page.ts", import.meta.url));

describe.skipIf("reason" in found)("the WASM backend in a browser", () => {
  it("has threads in a page that is cross-origin isolated", async () => {
    const report = (await runPage(page, { threads: 3 })) as ComputeReport;
    expect(report).toMatchObject({
      isolated: true,
      features: { simd: true, relaxedMadd: true, relaxedDot: true, sharedMemory: true },
      details: { threads: 3, exact: false, relaxedDot: true },
    });
    expect(report.details["threadsNote"]).toBeUndefined();
    expect(report.recovered).toEqual(report.digests);
  });

  it("has one thread in a page that is not, says so, and computes the same", async () => {
    const alone = (await runPage(page, { threads: 3 }, { isolated: false })) as ComputeReport;
    expect(alone).toMatchObject({
      isolated: false,
      features: { simd: true, sharedMemory: false },
      details: { threads: 1, threadsNote: "one: this page or engine has no shared memory" },
    });
    expect(alone.recovered).toEqual(alone.digests);
    const isolated = (await runPage(page, { threads: 2 })) as ComputeReport;
    expect(alone.digests).toEqual(isolated.digests);
  });

  it("computes the bits of Node when it is exact", async () => {
    const { digests } = (await runPage(page, { exact: true, threads: 2 })) as ComputeReport;
    const backend = await create({ exact: true, threads: 1 });
    expect(digests).toEqual(await run(backend));
    await backend.dispose();
  });
});

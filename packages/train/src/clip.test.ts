import { type Backend, ConfigError, type Tensor } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { beforeEach, describe, expect, it } from "vitest";
import { addGradients, meanGradients } from "./accumulate.ts";
import {
  clipByGlobalNorm,
  clipByGroups,
  globalNorm,
  gradientNorms,
  scaleByGroups,
} from "./clip.ts";

describe("clipping", () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await createCpu();
  });
  const grads = (): { router: Tensor; rest: { up: Tensor; frozen: null } } => ({
    router: backend.tensor(Float64Array.of(3, 4)),
    rest: { up: backend.tensor(Float64Array.of(0, 12, 0, 0), { shape: [2, 2] }), frozen: null },
  });
  const values = async (tensor: Tensor): Promise<number[]> => Array.from(await tensor.read());

  it("scales by max / (norm + 1e-6), over all gradients together", async () => {
    const { grads: clipped, norm } = clipByGlobalNorm(grads(), 6.5);
    expect(await norm.item()).toBe(13);
    const scale = 6.5 / (13 + 1e-6);
    expect(await values(clipped.router)).toEqual([3 * scale, 4 * scale]);
    expect(await values(clipped.rest.up)).toEqual([0, 12 * scale, 0, 0]);
    expect(clipped.rest.frozen).toBeNull();
  });

  it("leaves gradients below the limit as they are, to the bit", async () => {
    const { grads: clipped } = clipByGlobalNorm(grads(), 13.1);
    expect(await values(clipped.router)).toEqual([3, 4]);
  });

  it("clips groups apart from each other", async () => {
    const {
      grads: clipped,
      norm,
      groupNorms,
    } = clipByGroups(grads(), [
      { match: (path) => path.startsWith("router"), maxNorm: 1 },
      { match: () => true, maxNorm: 100 },
    ]);
    expect(await norm.item()).toBe(13);
    expect(await Promise.all(groupNorms.map((tensor) => tensor.item()))).toEqual([5, 12]);
    const scale = 1 / (5 + 1e-6);
    expect(await values(clipped.router)).toEqual([3 * scale, 4 * scale]);
    expect(await values(clipped.rest.up)).toEqual([0, 12, 0, 0]);
  });

  it.each(["f32", "f64"] as const)(
    "scales by norms that were read to the same bits as on the device, in %s",
    async (dtype) => {
      const tree = () => ({
        router: backend.tensor([0.3, -0.7], { dtype }),
        rest: backend.tensor([1e-3, 2.9, -1.7], { dtype }),
        frozen: null,
      });
      const isRouter = (path: string): boolean => path === "router";
      for (const groups of [
        [{ match: () => true, maxNorm: 1 }],
        [
          { match: isRouter, maxNorm: 0.1 },
          { match: () => true, maxNorm: 100 },
        ],
        [{ match: isRouter, maxNorm: 0.75 }],
        [{ match: isRouter, maxNorm: Infinity }],
      ]) {
        const wanted = clipByGroups(tree(), groups);
        const grads = tree();
        const { norm, groupNorms } = gradientNorms(grads, groups);
        expect(await values(norm)).toEqual(await values(wanted.norm));
        const norms = await Promise.all(groupNorms.map((tensor) => tensor.item()));
        const found = scaleByGroups(grads, groups, norms, norm.dtype);
        expect(await values(found.router)).toEqual(await values(wanted.grads.router));
        expect(await values(found.rest)).toEqual(await values(wanted.grads.rest));
        expect(found.frozen).toBeNull();
      }
    },
  );

  it("leaves the tree itself where no norm is beyond its limit", () => {
    const tree = grads();
    const groups = [{ match: () => true, maxNorm: 14 }];
    expect(scaleByGroups(tree, groups, [13], "f64")).toBe(tree);
  });

  it("measures without touching", async () => {
    const tree = grads();
    expect(await globalNorm(tree).item()).toBe(13);
    expect(await values(tree.router)).toEqual([3, 4]);
  });

  it("keeps no buffer but its results", () => {
    const tree = grads();
    const before = backend.statistics().liveBuffers;
    const { norm } = clipByGlobalNorm(tree, 1);
    norm.dispose();
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("refuses a limit of 0 and a tree without gradients", () => {
    expect(() => clipByGlobalNorm(grads(), 0)).toThrow(ConfigError);
    expect(() => clipByGlobalNorm(grads(), Number.NaN)).toThrow(/maxNorm|norm/);
    expect(() => clipByGlobalNorm({ frozen: null }, 1)).toThrow(/no gradient/);
  });

  it("averages micro-batches, a missing gradient counting as zero", async () => {
    const params = { a: backend.tensor([0, 0]), b: backend.tensor([0]), c: backend.tensor([0]) };
    const first = { a: backend.tensor([1, 2]), b: null, c: null };
    const second = { a: backend.tensor([3, -2]), b: backend.tensor([8]), c: null };
    const before = backend.statistics().liveBuffers;
    const mean = meanGradients(params, addGradients(params, first, second), 2);
    expect(await values(mean.a as Tensor)).toEqual([2, 0]);
    expect(await values(mean.b as Tensor)).toEqual([4]);
    expect(mean.c).toBeNull();
    expect(backend.statistics().liveBuffers).toBe(before - 1);
  });
});

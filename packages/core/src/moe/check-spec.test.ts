import create from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import { ConfigError, ShapeError } from "../errors.ts";
import { checkRouteContext, checkRouteSpec } from "./check-spec.ts";
import type { RouteContext } from "./routing.ts";
import type { RouteSpec } from "./spec.ts";

const backend = await create();
const spec: RouteSpec = { experts: 8, topK: 2, score: "softmax" };
const groups = { count: 4, topK: 2, score: { top: 2 }, fill: "mask" } as const;

describe("checkRouteSpec", () => {
  it("takes the specs of the families", () => {
    const good: RouteSpec[] = [
      spec,
      { ...spec, renormalize: {} },
      {
        ...spec,
        score: "sigmoid",
        bias: true,
        groups,
        renormalize: { epsilon: 1e-20 },
        scale: 2.5,
      },
      { ...spec, groups: { ...groups, score: "max", fill: "zero" } },
      { ...spec, selectBy: "logits", weight: "softmaxOfChosen", temperature: 2, softcap: 30 },
      {
        ...spec,
        site: "input",
        renormalize: { when: "after", epsilon: "machine", guard: "max" },
        capacity: { size: { factor: 1.25 }, per: "batch", order: "choice" },
      },
    ];
    for (const one of good) expect(() => checkRouteSpec(one)).not.toThrow();
  });

  it.each<[key: string, changed: { readonly [K in keyof RouteSpec]?: unknown }]>([
    ["experts", { experts: 0 }],
    ["experts", { experts: 2.5 }],
    ["topK", { topK: 0 }],
    ["topK", { topK: 9 }],
    ["score", { score: "softmaxx" }],
    ["score", { score: undefined }],
    ["selectBy", { selectBy: "weights" }],
    ["weight", { weight: "softmax" }],
    ["site", { site: "both" }],
    ["temperature", { temperature: 0 }],
    ["temperature", { temperature: Number.POSITIVE_INFINITY }],
    ["softcap", { softcap: -1 }],
    ["scale", { scale: Number.NaN }],
    ["groups.count", { groups: { ...groups, count: 3 } }],
    ["groups.count", { groups: { ...groups, count: 0 } }],
    ["groups.topK", { groups: { ...groups, topK: 5 } }],
    ["groups.topK", { groups: { ...groups, topK: 0 } }],
    ["groups.score", { groups: { ...groups, score: { top: 0 } } }],
    ["groups.score", { groups: { ...groups, score: "mean" } }],
    ["groups.fill", { groups: { ...groups, fill: "-inf" } }],
    ["topK", { topK: 3, groups: { ...groups, topK: 1 } }],
    ["renormalize.p", { renormalize: { p: 0 } }],
    ["renormalize.epsilon", { renormalize: { epsilon: -1 } }],
    ["renormalize.epsilon", { renormalize: { epsilon: "tiny" } }],
    ["renormalize.guard", { renormalize: { guard: "min" } }],
    ["renormalize.when", { renormalize: { when: "never" } }],
    ["capacity.size", { capacity: { size: { absolute: 0 }, per: "batch", order: "position" } }],
    ["capacity.size", { capacity: { size: { factor: 0 }, per: "batch", order: "position" } }],
    ["capacity.per", { capacity: { size: { absolute: 1 }, per: "all", order: "position" } }],
    [
      "renormalize.epsilon",
      {
        renormalize: { when: "after" },
        capacity: { size: { absolute: 1 }, per: "batch", order: "position" },
      },
    ],
  ])("refuses a bad %s", (key, changed) => {
    const check = (): void => checkRouteSpec({ ...spec, ...changed } as RouteSpec);
    expect(check).toThrow(ConfigError);
    expect(check).toThrow(expect.objectContaining({ key }));
  });
});

describe("checkRouteContext", () => {
  it("takes what fits the tokens", () => {
    const mask = backend.tensor([true, false, true]);
    const good: RouteContext[] = [{}, { mask }, { sequences: [0, 3] }, { sequences: [0, 1, 1, 3] }];
    for (const one of good) expect(() => checkRouteContext(one, 3)).not.toThrow();
  });

  it("refuses what does not", () => {
    for (const sequences of [[], [0], [0, 2], [0, 4], [1, 3], [0, 2, 1, 3], [0, 1.5, 3]]) {
      expect(() => checkRouteContext({ sequences }, 3)).toThrow(ConfigError);
    }
    for (const mask of [backend.tensor([true]), backend.tensor([1, 1, 1])]) {
      expect(() => checkRouteContext({ mask }, 3)).toThrow(ShapeError);
    }
  });
});

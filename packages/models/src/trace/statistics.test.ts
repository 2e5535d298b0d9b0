import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { RoutedLayer, RoutedToken } from "./routed-token.ts";
import { MOST_COACTIVE, routingStatistics } from "./statistics.ts";

const token = (...layers: RoutedLayer[]): RoutedToken => ({
  sequence: 0,
  position: 0,
  token: 0,
  layers,
});

describe("routingStatistics", () => {
  it("counts by hand", () => {
    const counter = routingStatistics([
      { layer: 1, experts: 4 },
      { layer: 3, experts: 2 },
    ]);
    counter.add(token({ layer: 1, experts: [0, 2], weights: [0.75, 0.25] }));
    counter.add(token({ layer: 1, experts: [2, 0], weights: [0.5, 0.5], dropped: 1 }));
    counter.add(
      token(
        { layer: 1, experts: [2, 3], weights: [0.9, 0.1] },
        { layer: 3, experts: [1], weights: [1] },
      ),
    );
    const { tokens, layers } = counter.result();
    expect(tokens).toBe(3);
    const entropy = -(1 / 3) * Math.log(1 / 3) - 0.5 * Math.log(0.5) - (1 / 6) * Math.log(1 / 6);
    expect(layers[0]).toMatchObject({
      layer: 1,
      experts: 4,
      tokens: 3,
      assignments: 6,
      dropped: 1,
      load: [2, 0, 3, 1],
      weight: [1.25, 0, 1.65, 0.1],
      busiest: { expert: 2, share: 0.5 },
      unused: [1],
      coactivation: [
        [2, 0, 2, 0],
        [0, 0, 0, 0],
        [2, 0, 3, 1],
        [0, 0, 1, 1],
      ],
    });
    expect(layers[0]?.entropy).toBeCloseTo(entropy, 12);
    expect(layers[0]?.normalizedEntropy).toBeCloseTo(entropy / Math.log(4), 12);
    expect(layers[1]).toMatchObject({ tokens: 1, entropy: 0, normalizedEntropy: 0, unused: [0] });
    expect(JSON.parse(JSON.stringify(counter.result()))).toEqual(counter.result());
  });

  it("is even where load is even, and empty where nothing came", () => {
    const counter = routingStatistics([
      { layer: 0, experts: 8 },
      { layer: 1, experts: 1 },
      { layer: 2, experts: MOST_COACTIVE + 1 },
    ]);
    for (let expert = 0; expert < 8; expert++) {
      counter.add(token({ layer: 0, experts: [expert], weights: [1] }));
    }
    const [even, single, empty] = counter.result().layers;
    expect(even?.normalizedEntropy).toBeCloseTo(1, 12);
    expect(even?.busiest).toEqual({ expert: 0, share: 1 / 8 });
    expect(single?.normalizedEntropy).toBe(1);
    expect(empty).toMatchObject({ tokens: 0, assignments: 0, entropy: 0, normalizedEntropy: 0 });
    expect(empty?.unused).toHaveLength(MOST_COACTIVE + 1);
    expect(empty?.coactivation).toBeUndefined();
  });

  it("keeps what it gave apart from what comes later", () => {
    const counter = routingStatistics([{ layer: 0, experts: 2 }]);
    const before = counter.result();
    counter.add(token({ layer: 0, experts: [1], weights: [1] }));
    expect(before.layers[0]?.load).toEqual([0, 0]);
    expect(before.layers[0]?.coactivation).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  it.each<[string, RoutedLayer]>([
    ["layers", { layer: 1, experts: [0], weights: [1] }],
    ["experts", { layer: 0, experts: [2], weights: [1] }],
  ])("refuses %s that were not announced, and counts nothing of them", (key, layer) => {
    const counter = routingStatistics([{ layer: 0, experts: 2 }]);
    const before = counter.result();
    const add = (): void => counter.add(token({ layer: 0, experts: [0], weights: [1] }, layer));
    expect(add).toThrow(ConfigError);
    expect(add).toThrow(expect.objectContaining({ key }) as Error);
    expect(counter.result()).toEqual(before);
  });
});

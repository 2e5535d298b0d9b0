import type { Capabilities } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { hostTensor } from "../host-tensor.ts";
import { checkRoute, routeCase } from "./l1-route-check.ts";
import { EXPERT_COUNTS, ROUTE_OPS, distinctLogits, levelCase, upTo } from "./l1-support.ts";

const MOST_TOKENS = 4096;

/** Numbers of tokens around the backend's tiles, or around usual ones. */
export function tokenCounts({ tileSizes = [4, 64, 128] }: Capabilities): number[] {
  const around = tileSizes.flatMap((size) => [size - 1, size, size + 1]);
  return [...new Set(around)].filter((count) => count >= 1 && count <= MOST_TOKENS);
}

const experts = EXPERT_COUNTS.map((count) => {
  const k = Math.min(2, count);
  return routeCase(
    `experts-${count}`,
    `each token goes to the ${k} best of ${count} experts`,
    (random) => ({
      spec: { experts: count, topK: k, score: "softmax" },
      inputs: { logits: distinctLogits(random, 17, count) },
    }),
  );
});

const tokens = [0, 1, 17, 2049].map((count) =>
  routeCase(`tokens-${count}`, `each of ${count} tokens is routed`, (random) => ({
    spec: { experts: 8, topK: 2, score: "softmax" },
    inputs: { logits: distinctLogits(random, count, 8) },
  })),
);

/** Routing over the numbers of tokens, experts and choices. */
export const routeShapeCases: readonly ConformanceCase[] = [
  ...experts,
  ...tokens,
  levelCase(
    "L1",
    "route/tokens-around-tiles",
    "every token is routed where their number is around the size of a tile",
    ROUTE_OPS,
    async (test) => {
      for (const count of tokenCounts(test.capabilities)) {
        await checkRoute(test, () => ({
          spec: { experts: 8, topK: 2, score: "softmax" },
          inputs: { logits: distinctLogits(test.random, count, 8) },
        }));
      }
    },
  ),
  routeCase("k-1", "with k = 1 each token goes to its best expert alone", (random) => ({
    spec: { experts: 33, topK: 1, score: "softmax" },
    inputs: { logits: distinctLogits(random, 17, 33) },
  })),
  routeCase("k-8", "with k = 8 each token goes to its eight best experts", (random) => ({
    spec: { experts: 129, topK: 8, score: "softmax" },
    inputs: { logits: distinctLogits(random, 17, 129) },
  })),
  routeCase("k-E", "with k = E each token goes to all experts, the best first", (random) => ({
    spec: { experts: 33, topK: 33, score: "softmax" },
    inputs: { logits: distinctLogits(random, 17, 33) },
  })),
  routeCase("k-all-but-one", "with k = E − 1 each token leaves its worst expert out", (random) => ({
    spec: { experts: 33, topK: 32, score: "softmax" },
    inputs: { logits: distinctLogits(random, 17, 33) },
  })),
  levelCase(
    "L1",
    "route/own-choices",
    "each token gets its own experts and weights, not those of another",
    ROUTE_OPS,
    async (test) => {
      // Token t prefers expert t, then t + 1, by a margin that grows with t: no two rows are alike.
      const count = 64;
      const values = upTo(count * count).map((index) => {
        const [token, expert] = [Math.floor(index / count), index % count];
        const far = (expert - token + count) % count;
        return far === 0 ? 8 : far === 1 ? 7 - token / 16 : -far / 16;
      });
      const logits = hostTensor(values, "f32", [count, count]);
      const { got } = await checkRoute(test, () => ({
        spec: { experts: count, topK: 2, score: "softmax" },
        inputs: { logits },
      }));
      const wanted = upTo(count).flatMap((token) => [token, (token + 1) % count]);
      test.same("indices", got.indices.data, Int32Array.from(wanted));
    },
  ),
];

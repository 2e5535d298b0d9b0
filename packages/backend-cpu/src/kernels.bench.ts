import { type Tensor, groupedMatmul, hostNormal, matmul, randomKey, softmax } from "@moiety/core";
import { bench, describe } from "vitest";
import create from "./index.ts";

const backend = await create();
const draw = (seed: number, ...shape: number[]): Tensor => {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  return backend.tensor(Float32Array.from(hostNormal(randomKey(seed), size)), { shape });
};

describe("products, 2·M·N·K operations each", () => {
  const a = draw(1, 512, 512);
  const b = draw(2, 512, 512);
  for (const transposeB of [false, true]) {
    bench(`matmul 512 × 512 × 512 (0.27 GFLOP)${transposeB ? ", second transposed" : ""}`, () => {
      matmul(a, b, { transposeB }).dispose();
    });
  }

  const experts = 16;
  const x = draw(3, 4096, 96);
  const weights = draw(4, experts, 256, 96);
  const offsets = backend.tensor(
    Int32Array.from({ length: experts + 1 }, (_, expert) => (expert * 4096) / experts),
  );
  bench("groupedMatmul 4096 rows, 16 experts, 96 → 256 (0.20 GFLOP)", () => {
    groupedMatmul(x, weights, offsets).dispose();
  });
});

describe("decompositions", () => {
  const scores = draw(5, 4096, 128);
  bench("softmax of 4096 × 128", () => {
    softmax(scores).dispose();
  });
});

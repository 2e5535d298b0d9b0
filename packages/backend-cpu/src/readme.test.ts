import { type Tensor, matmul, mean, square, valueAndGrad } from "@moiety/core";
import { expect, it } from "vitest";
import { create } from "./index.ts";

it("gives the README's first result", async () => {
  const backend = await create();
  const x = backend.tensor([1, 2, 3, 4], { shape: [2, 2] });
  const weights = backend.tensor([0.5, -1, 0.25, 2], { shape: [2, 2] });
  expect([...(await matmul(x, weights).read())]).toEqual([1, 3, 2.5, 5]);
  const step = valueAndGrad((w: Tensor) => mean(square(matmul(x, w))));
  const { loss, grads } = step(weights);
  expect(await loss.item()).toBe(10.3125);
  expect([...((await grads?.read()) ?? [])]).toEqual([4.25, 9, 6, 13]);
});

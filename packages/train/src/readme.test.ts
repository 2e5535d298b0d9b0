import { create } from "@moiety/backend-cpu";
import { type Tensor, mean, mul, randomKey, square, sub } from "@moiety/core";
import { expect, it } from "vitest";
import { adamW, startTraining, train, warmupCosine } from "./index.ts";

it("the first example of the README finds the slope", async () => {
  const backend = await create();
  const optimizer = adamW({ learningRate: 0.1 });
  const params = { slope: backend.tensor([0]) };
  const start = startTraining({ params, state: {}, optimizer, steps: 100, key: randomKey(1) });
  const loss = ({ slope }: { slope: Tensor }, _state: object, x: Tensor) => ({
    loss: mean(square(sub(mul(x, slope), mul(x, 3)))),
  });
  const schedule = warmupCosine({ peak: 0.1, warmupSteps: 10, totalSteps: 100 });
  const batch = (step: number) => backend.tensor([step % 3, 1, 2]);
  let found = 0;
  for await (const event of train({ start, loss, optimizer, schedule, batch, clip: 1 })) {
    if (event.step === 100) found = await event.snapshot.params.slope.item();
  }
  expect(found).toBeGreaterThan(2.5);
});

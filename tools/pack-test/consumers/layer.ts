// One layer on the reference backend, forward and back.
import createBackend from "@moiety/backend-cpu";
import { apply, moe, mul, randomKey, sum, valueAndGrad } from "@moiety/core";
import { glu } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";

const backend = await createBackend();
const layer = moe({
  router: mixtralRouter({ hiddenSize: 8, numLocalExperts: 4, numExpertsPerTok: 2 }),
  experts: glu({ experts: 4, hiddenSize: 8, intermediateSize: 16, activation: "silu" }),
});
const { params, state } = layer.init(randomKey(0), { backend });
const x = backend.tensor(
  Float32Array.from({ length: 3 * 8 }, (_, at) => Math.sin(at)),
  {
    shape: [3, 8],
  },
);

const { output, load } = apply(layer, params, state, x);
const values = await output.read();
if (output.shape.join() !== "3,8") throw new Error(`the output is ${output.shape.join()}`);
if (![...values].every((value) => Number.isFinite(value))) throw new Error("not finite");
const assignments = [...(await load.read())].reduce((all, one) => all + one, 0);
if (assignments !== 6) throw new Error(`${assignments} assignments instead of 6`);

const { loss, grads } = valueAndGrad((tree: typeof params) => {
  const y = apply(layer, tree, state, x).output;
  return sum(mul(y, y));
})(params);
const [value = Number.NaN] = await loss.read();
const expected = [...values].reduce((all, one) => all + one * one, 0);
if (Math.abs(value - expected) > 1e-5 * expected) throw new Error(`${value} is not ${expected}`);
if (grads.router === null) throw new Error("the router has no gradient");
await backend.dispose();

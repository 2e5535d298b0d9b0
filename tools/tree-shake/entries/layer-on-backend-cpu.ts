// One router, a bank of gated experts and the reference backend.
import createBackend from "@moiety/backend-cpu";
import { apply, moe, randomKey } from "@moiety/core";
import { glu } from "@moiety/experts";
import { mixtralRouter } from "@moiety/routers";

const layer = moe({
  router: mixtralRouter({ hiddenSize: 8, numLocalExperts: 4, numExpertsPerTok: 2 }),
  experts: glu({ experts: 4, hiddenSize: 8, intermediateSize: 16, activation: "silu" }),
});
const backend = await createBackend();
const { params, state } = layer.init(randomKey(0), { backend });
const x = backend.tensor(new Float32Array(16), { shape: [2, 8] });
console.log(await apply(layer, params, state, x).output.read());

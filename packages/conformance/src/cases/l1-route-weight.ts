import type { Renormalization, RouteSpec } from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";
import { checkRoute, routeCase } from "./l1-route-check.ts";
import { ROUTE_OPS, distinctLogits, levelCase, upTo } from "./l1-support.ts";

/** A case of the weight stage over 16 experts. */
function weightCase(
  id: string,
  demand: string,
  spec: Partial<RouteSpec>,
  draw: (random: CaseRandom) => HostTensor = (random) => distinctLogits(random, 17, 16),
): ConformanceCase {
  return routeCase(id, demand, (random) => ({
    spec: { experts: 16, topK: 3, score: "softmax", ...spec },
    inputs: { logits: draw(random) },
  }));
}

/** Scores of 2⁻²⁰ to 2⁻¹⁴, exact, and larger from token to token: an ε of that size shows. */
function lowLogits(random: CaseRandom): HostTensor {
  const near = distinctLogits(random, 17, 16);
  return generated([17, 16], "f32", (index) => {
    const scale = 2 ** (-20 + (Math.floor(index / 16) % 4));
    return (5 + (near.data[index] ?? 0)) * scale;
  });
}

function lowCase(id: string, demand: string, renormalize: Renormalization): ConformanceCase {
  return weightCase(id, demand, { score: "identity", renormalize }, lowLogits);
}

const renormalizing: readonly ConformanceCase[] = [
  levelCase(
    "L1",
    "route/renormalize-sum",
    "renormalised weights are divided by their sum, so that they sum to 1",
    ROUTE_OPS,
    async (test) => {
      const { got } = await checkRoute(test, () => ({
        spec: { experts: 16, topK: 3, score: "softmax", renormalize: {} },
        inputs: { logits: distinctLogits(test.random, 17, 16) },
      }));
      for (const token of upTo(17)) {
        const weights = [...got.outputWeights.data.subarray(token * 3, token * 3 + 3)];
        const sum = weights.reduce((total, weight) => total + weight, 0);
        test.expect(Math.abs(sum - 1) < 2 ** -20, `the weights of token ${token} sum to ${sum}`);
      }
    },
  ),
  weightCase("renormalize-p2", "with p = 2 the weights are divided by their Euclidean norm", {
    score: "sigmoid",
    renormalize: { p: 2 },
  }),
  weightCase("renormalize-p-half", "with p = ½ the norm is the square of the sum of roots", {
    score: "sigmoid",
    renormalize: { p: 0.5 },
  }),
  lowCase("renormalize-epsilon-add", "ε is added to the norm", { epsilon: 2 ** -14 }),
  lowCase("renormalize-epsilon-max", "with guard max the norm is ε where it is below", {
    epsilon: 2 ** -14,
    guard: "max",
  }),
  lowCase("renormalize-epsilon-p2", "ε is added to the Euclidean norm after its root", {
    p: 2,
    epsilon: 2 ** -14,
  }),
  weightCase("renormalize-machine", "ε given as machine is the dtype's epsilon", {
    renormalize: { epsilon: "machine" },
  }),
  weightCase("renormalize-skip-single", "skipSingle leaves a single choice alone", {
    topK: 1,
    score: "sigmoid",
    renormalize: { skipSingle: true },
  }),
  weightCase("renormalize-single", "without skipSingle a single choice weighs 1", {
    topK: 1,
    score: "sigmoid",
    renormalize: {},
  }),
  weightCase("renormalize-skip-single-of-two", "skipSingle means k = 1: two are renormalised", {
    topK: 2,
    score: "sigmoid",
    renormalize: { skipSingle: true },
  }),
  weightCase(
    "renormalize-after",
    "weights that are renormalised after capacity are so without one too, and scaled behind it",
    { score: "sigmoid", renormalize: { when: "after", epsilon: 1e-20 }, scale: 2.5 },
  ),
];

const scaling: readonly ConformanceCase[] = [
  weightCase("scale", "weights are multiplied by the scale", { scale: 2.5 }),
  weightCase("scale-after-renormalize", "the scale comes after renormalisation, and so remains", {
    score: "sigmoid",
    renormalize: { epsilon: 1e-20 },
    scale: 2.5,
  }),
  weightCase("temperature", "logits are divided by the temperature", { temperature: 4 }),
  weightCase("softcap", "logits are capped to c · tanh(logits / c)", { softcap: 3 }),
  weightCase("temperature-then-softcap", "temperature comes before the softcap", {
    temperature: 0.5,
    softcap: 6,
  }),
  weightCase("softmax-of-chosen", "weights are a softmax over the chosen logits alone", {
    weight: "softmaxOfChosen",
  }),
  weightCase(
    "softmax-of-chosen-capped",
    "the softmax over the chosen reads logits after temperature and softcap",
    { weight: "softmaxOfChosen", selectBy: "logits", temperature: 2, softcap: 3 },
  ),
  weightCase("sigmoid-of-chosen", "weights are the sigmoids of the chosen logits", {
    weight: "sigmoidOfChosen",
    selectBy: "logits",
  }),
  weightCase(
    "sigmoid-of-chosen-renormalized",
    "sigmoids of the chosen are renormalised and scaled like scores",
    { weight: "sigmoidOfChosen", renormalize: { epsilon: 1e-20 }, scale: 1.5 },
  ),
  levelCase(
    "L1",
    "route/site-input",
    "weights that apply to the experts' inputs leave the outputs' weights at 1",
    ROUTE_OPS,
    async (test) => {
      const { got } = await checkRoute(test, () => ({
        spec: { experts: 16, topK: 3, score: "sigmoid", site: "input" },
        inputs: { logits: distinctLogits(test.random, 17, 16) },
      }));
      const ones = new Float32Array(17 * 3).fill(1);
      test.same("outputWeights", got.outputWeights.data, ones);
      const heavy = got.inputWeights.data.some((weight) => weight !== 1);
      test.expect(heavy, "the input weights are all 1");
    },
  ),
];

/** With what weights experts are chosen. */
export const routeWeightCases: readonly ConformanceCase[] = [...renormalizing, ...scaling];

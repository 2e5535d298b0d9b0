import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, type Routing, type Tensor, apply, putAlong, zerosLike } from "@moiety/core";
import { modelLoss } from "./causal-loss.ts";
import { generate } from "./generate.ts";
import { type ReadyModel, loadModel } from "./load.ts";
import { type Truth, openTruth, worstShare } from "./testing/truth.ts";

const recorded = ["deepseek_v3", "gpt_oss", "gpt_oss-yarn", "olmoe", "qwen2_moe", "qwen3_moe"];

describe.each(recorded)("%s as Hugging Face recorded it", (family) => {
  const [isDeepseek, isGptOss] = [family === "deepseek_v3", family.startsWith("gpt_oss")];
  let truth: Truth;
  let backend: Backend;
  let ready: ReadyModel;

  beforeAll(async () => {
    backend = await create();
    truth = await openTruth(family);
    ready = await loadModel(truth.checkpoint, { backend, dtype: "f64" });
  });

  afterAll(async () => {
    await truth.close();
    await backend.dispose();
  });

  const close = async (actual: ArrayLike<number>, name: string): Promise<void> => {
    const { data, shape } = await truth.tensor(name);
    const share = worstShare(actual, data, shape.at(-1) ?? 1, truth.scale);
    expect(share, `${name} differs by this share of the tolerance`).toBeLessThanOrEqual(1);
  };

  it("gives the logits, router logits, loss and balance loss", async () => {
    const { model, params, state } = ready;
    const { data, shape } = await truth.tensor("input_ids");
    const ids = backend.tensor(Int32Array.from(data), { shape });
    const output = apply(model, params, state, ids);
    await close(await output.logits.read(), "logits.f64");
    const { loss, losses } = modelLoss(output, ids);
    await close(await loss.read(), "loss.f64");
    // DeepSeek's code has no balance loss, and so records no logits of routers.
    expect(output.routings).toHaveLength(isDeepseek ? 1 : 2);
    expect(losses).toHaveLength(isDeepseek ? 0 : 1);
    for (const { value } of losses) await close(await value.read(), "aux_loss.f64");
    for (const [layer, routing] of output.routings.entries()) {
      if (isDeepseek) continue;
      // gpt-oss of release 4 gives out the weights of the chosen as logits.
      const logits = isGptOss ? scatteredWeights(routing) : routing.logits;
      await close(await logits.read(), `router_logits.f64.${layer}`);
    }
  });

  it("gives the logits in float32 too", async () => {
    const single = await loadModel(truth.checkpoint, { backend });
    const { data, shape } = await truth.tensor("input_ids");
    const ids = backend.tensor(Int32Array.from(data), { shape });
    const logits = await apply(single.model, single.params, single.state, ids).logits.read();
    const expected = (await truth.tensor("logits.f64")).data;
    const worst = expected.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - (logits[index] ?? Number.NaN))),
      0,
    );
    expect(worst).toBeLessThan(1e-4);
  });

  it("continues greedily", async () => {
    const { model, params, state } = ready;
    const prompt = await truth.tensor("prompt_ids");
    const expected = await truth.tensor("greedy_sequence.f64");
    const tokens = [...prompt.data];
    const maxNewTokens = expected.data.length - tokens.length;
    for await (const token of generate(model, params, state, prompt.data, { maxNewTokens })) {
      tokens.push(token);
    }
    expect(tokens).toEqual([...expected.data]);
  });

  it("fails on a number that is wrong by 1e-6", async () => {
    const { data, shape } = await truth.tensor("logits.f64");
    const size = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const largest = data.findIndex((value) => Math.abs(value) === size);
    const wrong = data.with(largest, (data[largest] ?? 0) * (1 + 1e-6));
    expect(worstShare(wrong, data, shape.at(-1) ?? 1, truth.scale)).toBeGreaterThan(1);
    expect(worstShare(data.with(0, Number.NaN), data, 64, truth.scale)).toBeNaN();
  });
});

/** `[T, E]` the weights of the chosen experts, 0 elsewhere. */
function scatteredWeights(routing: Routing): Tensor {
  if (routing.kind !== "token-choice") throw new Error(`a routing is ${routing.kind}`);
  const { logits, indices, outputWeights } = routing;
  return putAlong(zerosLike(logits), indices, outputWeights, { axis: 1 });
}

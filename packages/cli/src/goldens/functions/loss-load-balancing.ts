import { FormatError, type Tensor, routeTokens, valueAndGrad } from "@moiety/core";
import { huggingFaceBalance } from "@moiety/losses";
import { type GoldenCase, isObject, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import type { Verdict } from "../ledger.ts";
import { floatTensor, maskTensor, takeValues } from "../values.ts";

/**
 * `loss_load_balancing`: Hugging Face's pooled balance loss of several layers' logits, and its
 * gradient. dbrx's copy of the function takes the router's probabilities.
 */
export async function lossLoadBalancing(golden: GoldenCase, context: RunContext): Promise<Verdict> {
  const { backend, precision } = context;
  const { config, tensors } = golden;
  const [layers, experts, topK] = (["num_layers", "num_experts", "top_k"] as const).map((key) =>
    countOf(config, key),
  ) as [number, number, number];
  const names = Array.from({ length: layers }, (_, layer) => `logits.${layer}`);
  const inputs = names.map((name) => requireTensor(golden, name));
  const mask = tensors.get("attention_mask");
  if (config["masked"] === true && mask === undefined) requireTensor(golden, "attention_mask");
  for (const name of ["loss", ...names.map((name) => `grad.${name}`)]) requireTensor(golden, name);
  const from = isOfDbrx(golden) ? "scores" : "logits";
  const loss = huggingFaceBalance({ coefficient: 1, from });
  const results = backend.scope(() => {
    const tokenMask = mask && maskTensor(backend, mask);
    const evaluate = valueAndGrad((logits: readonly Tensor[]) =>
      loss.evaluate(
        logits.map((layer) => {
          const routing = routeTokens({ experts, topK, score: "softmax" }, { logits: layer });
          return { ...routing, mask: tokenMask };
        }),
      ),
    );
    const { loss: value, grads } = evaluate(
      inputs.map((input) => floatTensor(backend, input, precision)),
    );
    const gradients = grads.map((gradient, layer) => [`grad.logits.${layer}`, gradient as Tensor]);
    return { loss: value, ...(Object.fromEntries(gradients) as Record<string, Tensor>) };
  });
  const tokens = (inputs[0]?.shape[0] ?? 0) * layers;
  const ledger = openLedger(
    golden,
    context,
    [tokens, experts, experts],
    (name) => isFloat32Run(name) || name === "attention_mask" || names.includes(name),
  );
  for (const [name, values] of await takeValues(results, context)) ledger.compare(name, values);
  return ledger.close();
}

function isOfDbrx({ about, folder }: GoldenCase): boolean {
  const source = about["source"];
  const path = isObject(source) ? source["path"] : undefined;
  if (typeof path === "string") return path.includes("/dbrx/");
  throw new FormatError(`${folder}: case.json does not say of which model the function is`, 0);
}

import { type Routing, type Tensor, softmax, takeAlong, valueAndGrad } from "@moiety/core";
import { huggingFaceSwitchBalance, zLoss } from "@moiety/losses";
import { type GoldenCase, requireTensor } from "../case.ts";
import { type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import type { Verdict } from "../ledger.ts";
import { evenSequences, floatTensor, indexTensor, takeValues } from "../values.ts";

/**
 * `loss_switch`: balance and z-loss of Hugging Face's Switch Transformer from logits `[G, T, E]` and
 * the experts of tokens, and their gradients.
 */
export async function lossSwitch(golden: GoldenCase, context: RunContext): Promise<Verdict> {
  const { backend, precision } = context;
  const logits = requireTensor(golden, "logits");
  const chosen = requireTensor(golden, "expert_indices");
  const losses = [
    ["load_balancing_loss", huggingFaceSwitchBalance({ coefficient: 1 })],
    ["router_z_loss", zLoss({ coefficient: 1 })],
  ] as const;
  for (const [name] of losses) {
    for (const wanted of [name, `grad.${name}.logits`]) requireTensor(golden, wanted);
  }
  const [groups = 0, tokens = 0, experts = 0] = logits.shape;
  const rows = groups * tokens;
  const results = backend.scope(() => {
    const given = floatTensor(backend, logits, precision, [rows, experts]);
    const indices = indexTensor(backend, chosen, [rows, 1]);
    const routingOf = (traced: Tensor): Routing => {
      const scores = softmax(traced);
      return {
        kind: "token-choice",
        experts,
        logits: traced,
        scores,
        indices,
        selected: indices,
        outputWeights: takeAlong(scores, indices, { axis: 1 }),
        sequences: evenSequences(groups, tokens),
      };
    };
    const found: Record<string, Tensor> = {};
    for (const [name, loss] of losses) {
      const evaluate = valueAndGrad((params: { logits: Tensor }) =>
        loss.evaluate([routingOf(params.logits)]),
      );
      const { loss: value, grads } = evaluate({ logits: given });
      found[name] = value;
      found[`grad.${name}.logits`] = grads.logits as Tensor;
    }
    return found;
  });
  const ledger = openLedger(
    golden,
    context,
    [rows, experts, experts],
    (name) => isFloat32Run(name) || name === "logits" || name === "expert_indices",
  );
  for (const [name, values] of await takeValues(results, context)) ledger.compare(name, values);
  return ledger.close();
}

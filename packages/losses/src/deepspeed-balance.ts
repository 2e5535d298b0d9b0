import type { RoutingLoss } from "@moiety/core";
import { type ChoiceBalanceOptions, choiceBalance } from "./choice-balance.ts";
import { firstChoices } from "./gshard-balance.ts";
import { requireOption } from "./options.ts";

/** Options of {@link deepspeedBalance}. */
export interface DeepspeedBalanceOptions extends ChoiceBalanceOptions {
  /**
   * Which of DeepSpeed's gating functions: `top1` and `top2` count first choices only, `topk` counts
   * all k choices and divides by k. Unless given it goes by k, as `TopKGate` does: `topk` from 3.
   */
  readonly gating?: "top1" | "top2" | "topk" | undefined;
}

/**
 * DeepSpeed's `l_aux`: E · Σ_e c_e · m_e over the whole batch, with c_e the share of tokens whose
 * first choice is e (`top1gating`, `top2gating`), or of all T·k assignments (`topkgating`), before
 * dropping. 1 when balanced. The mean over layers; padding is left out.
 *
 * Source: DeepSpeed `moe/sharded_moe.py`.
 * @throws ConfigError
 */
export function deepspeedBalance(options: DeepspeedBalanceOptions): RoutingLoss {
  const name = "deepspeedBalance";
  const { gating } = options;
  if (gating !== undefined) requireOption(name, "gating", gating, ["top1", "top2", "topk"]);
  return choiceBalance(name, options, {
    per: "batch",
    counts: "selected",
    pick: (choices) => {
      const k = choices.shape[1] ?? 0;
      const all = gating === undefined ? k > 2 : gating === "topk";
      return all ? { chosen: choices, over: k } : firstChoices(choices);
    },
  });
}

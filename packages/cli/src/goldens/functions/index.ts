import type { CaseHandler } from "../handler.ts";
import { lossLoadBalancing } from "./loss-load-balancing.ts";
import { lossSwitch } from "./loss-switch.ts";

/** Functions that are recorded by themselves, by the name of their folder. */
export const functions: Readonly<Record<string, CaseHandler>> = {
  loss_load_balancing: lossLoadBalancing,
  loss_switch: lossSwitch,
};

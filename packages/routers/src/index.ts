/**
 * Routers: which experts each token goes to, and with what weights.
 * @packageDocumentation
 */
export { type DeepseekV3Options, deepseekV3Router, deepseekV3Spec } from "./deepseek-v3.ts";
export {
  type LinearRouter,
  type LinearRouterOptions,
  type LinearRouterParams,
  type LinearRouterState,
  linearRouter,
} from "./linear-router.ts";
export { type MixtralOptions, mixtralRouter, mixtralSpec } from "./mixtral.ts";
export type { RouterNoise } from "./noise.ts";
export { type NoisyTopKOptions, noisyTopKRouter, noisyTopKSpec } from "./noisy-top-k.ts";
export { type QwenMoeOptions, qwenMoeRouter, qwenMoeSpec } from "./qwen-moe.ts";
export { type SwitchOptions, switchRouter, switchSpec } from "./switch.ts";

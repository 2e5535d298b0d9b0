import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import {
  type NoiseParams,
  type StageOptions,
  type StagedRouter,
  type StagedRouterState,
  stagedRouter,
} from "./staged-router.ts";

/** Parameters of a {@link LinearRouter}: weight `[E, H]`, bias `[E]`, noise `[E, H]`. */
export interface LinearRouterParams extends LinearGateParams, NoiseParams {}

/** State of a {@link LinearRouter}. */
export type LinearRouterState = StagedRouterState;

/** A router as data. */
export interface LinearRouterOptions extends StageOptions {
  /** Width H of the input. */
  readonly inputSize: number;
  /** Whether the logits have a bias that is learned. False unless given. */
  readonly linearBias?: boolean | undefined;
  /** c of logits that are c · tanh(l / c) for losses too, not only for the stages. None unless given. */
  readonly logitSoftcap?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** A router with one linear layer: `logits = x · weightᵀ (+ bias)`, then the stages of its spec. */
export type LinearRouter = StagedRouter<LinearGateParams>;

/**
 * Makes a {@link stagedRouter} behind a {@link linearGate}. The weight starts from
 * normal(0, `initializerRange`), the weight of learned noise and both biases from 0.
 * @throws ConfigError where the options make no sense
 *
 * @example
 * const router = linearRouter({ inputSize: 64, spec: { experts: 8, topK: 2, score: "softmax" } });
 */
export function linearRouter(options: LinearRouterOptions): LinearRouter {
  const { spec, linearBias: bias, logitSoftcap: softcap } = options;
  const gate = linearGate({ ...options, experts: spec.experts, bias, softcap });
  return stagedRouter({ ...options, gate });
}

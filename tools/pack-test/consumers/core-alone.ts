// With the core alone: a router and a bank of one's own, composed into a layer.
import {
  type ExpertBank,
  type Router,
  type Tensor,
  ConfigError,
  MoietyError,
  constantParameter,
  dispatch,
  gather,
  hostUniform,
  matmul,
  moe,
  normalParameter,
  randomKey,
  routeTokens,
} from "@moiety/core";

interface Weighted {
  readonly weight: Tensor;
}

function linearRouter(inputSize: number, experts: number): Router<Weighted> {
  return {
    experts,
    inputSize,
    acrossTokens: false,
    init: (key, options) => ({
      params: { weight: normalParameter(key, [inputSize, experts], 0.02, options) },
      state: {},
    }),
    route: (params, _state, x, context) =>
      routeTokens(
        { experts, topK: 1, score: "softmax" },
        { logits: matmul(x, params.weight) },
        context,
      ),
  };
}

function unchanged(size: number, experts: number): ExpertBank<Weighted> {
  return {
    experts,
    inputSize: size,
    outputSize: size,
    init: (_key, options) => ({
      params: { weight: constantParameter(1, [experts], options) },
      state: {},
    }),
    forward: (_params, rows) => gather(rows),
  };
}

const layer = moe({ router: linearRouter(8, 4), experts: unchanged(8, 4) });
expectError(ConfigError, () => moe({ router: linearRouter(8, 4), experts: unchanged(8, 5) }));
// @ts-expect-error parameters cannot be drawn without a backend
expectError(MoietyError, () => layer.init(randomKey(1), {}));

const draws = hostUniform(randomKey(1), 4);
if (!draws.every((draw) => draw >= 0 && draw < 1)) throw new Error(`not uniform: ${draws.join()}`);
if (typeof dispatch !== "function") throw new Error("dispatch is missing");

function expectError(
  kind: abstract new (...parameters: never[]) => Error,
  call: () => unknown,
): void {
  try {
    call();
  } catch (error) {
    if (error instanceof kind) return;
    throw error;
  }
  throw new Error(`no ${kind.name}`);
}

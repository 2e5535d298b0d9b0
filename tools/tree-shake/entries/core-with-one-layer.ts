// The core and one layer built from it: a router and a bank of one's own.
import {
  type ExpertBank,
  type MoeLayer,
  type NoState,
  type Router,
  type Tensor,
  gather,
  matmul,
  moe,
  normalParameter,
  routeTokens,
} from "@moiety/core";

interface Weighted {
  readonly weight: Tensor;
}

const router: Router<Weighted> = {
  experts: 4,
  inputSize: 8,
  acrossTokens: false,
  init: (key, options) => ({
    params: { weight: normalParameter(key, [8, 4], 0.02, options) },
    state: {},
  }),
  route: (params, _state, x, context) =>
    routeTokens(
      { experts: 4, topK: 2, score: "softmax" },
      { logits: matmul(x, params.weight) },
      context,
    ),
};

const experts: ExpertBank<NoState> = {
  experts: 4,
  inputSize: 8,
  outputSize: 8,
  init: () => ({ params: {}, state: {} }),
  forward: (_params, rows) => gather(rows),
};

export const layer: MoeLayer<Weighted, NoState, NoState> = moe({ router, experts });

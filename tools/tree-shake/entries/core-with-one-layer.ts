// The core and one layer built from it: a router and a bank of one's own.
import {
  type ExpertBank,
  type MoeLayer,
  type NoState,
  type Router,
  type Tensor,
  constantParameter,
  gather,
  matmul,
  moe,
  softmax,
  topK,
} from "@moiety/core";

interface Weighted {
  readonly weight: Tensor;
}

const router: Router<Weighted> = {
  experts: 4,
  inputSize: 8,
  acrossTokens: false,
  init: (_key, options) => ({
    params: { weight: constantParameter(0, [8, 4], options) },
    state: {},
  }),
  route(params, _state, x) {
    const logits = matmul(x, params.weight);
    const scores = softmax(logits);
    const [outputWeights, indices] = topK(scores, undefined, { k: 2 });
    const chosen = { indices, selected: indices, outputWeights };
    return { kind: "token-choice", experts: 4, logits, scores, ...chosen };
  },
};

const experts: ExpertBank<NoState> = {
  experts: 4,
  inputSize: 8,
  outputSize: 8,
  init: () => ({ params: {}, state: {} }),
  forward: (_params, rows) => gather(rows),
};

export const layer: MoeLayer<Weighted, NoState, NoState> = moe({ router, experts });

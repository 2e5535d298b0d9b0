import { UnsupportedError } from "../errors.ts";
import { add, div, iota, matmul, mul, sigmoid, slice, softmax, transpose } from "../ops/index.ts";
import type { Tensor } from "../tensor.ts";
import type { ExpertBank, SharedBranch } from "./bank.ts";
import { type Rows, combine, dispatch, plan } from "./plan.ts";
import type { Routing, Soft, TokenChoice } from "./routing.ts";

/** Runs the chosen experts on `x [T, H]` and sums their outputs: `[T, O]`. */
export function mixExperts<Params>(
  bank: ExpertBank<Params>,
  params: Params,
  x: Tensor,
  routing: Routing,
): Tensor {
  switch (routing.kind) {
    case "token-choice":
      if (bank.mix) return bank.mix(params, x, routing);
      return bank.ffn ? bank.ffn(params).mix(x, routing) : mixRows(bank, params, x, routing);
    case "expert-choice": {
      const sorted = plan(routing);
      return combine(bank.forward(params, dispatch(x, sorted)), sorted, routing.weights);
    }
    case "soft":
      return mixSlots(bank, params, routing.source ?? x, routing);
  }
}

function mixRows<Params>(
  bank: ExpertBank<Params>,
  params: Params,
  x: Tensor,
  routing: TokenChoice,
): Tensor {
  const sorted = plan(routing);
  const rows = dispatch(x, sorted, routing.inputWeights);
  return combine(bank.forward(params, rows), sorted, routing.outputWeights);
}

/** Slots take mixtures of tokens, experts run on their slots, tokens take mixtures of slots. */
function mixSlots<Params>(
  bank: ExpertBank<Params>,
  params: Params,
  source: Tensor,
  { dispatch: taking, combine: giving, experts, slots }: Soft,
): Tensor {
  const [groups = 0, tokens = 0, total = 0] = taking.shape;
  const { backend } = source;
  const grouped = source.reshape([groups, tokens, source.shape.at(-1) ?? 0]);
  const mixed = matmul(taking, grouped, { transposeA: true });
  const rowCount = groups * total;
  const byExpert = transpose(mixed.reshape([groups, experts, slots, bank.inputSize]), {
    permutation: [1, 0, 2, 3],
  }).reshape([rowCount, bank.inputSize]);
  const perExpert = groups * slots;
  const rowNumbers = iota(backend, { shape: [rowCount], axis: 0, dtype: "i32" });
  const rows: Rows = {
    source: byExpert,
    offsets: mul(iota(backend, { shape: [experts + 1], axis: 0, dtype: "i32" }), perExpert),
    group: div(rowNumbers, Math.max(perExpert, 1)),
  };
  const outputs = transpose(
    bank.forward(params, rows).reshape([experts, groups, slots, bank.outputSize]),
    { permutation: [1, 0, 2, 3] },
  ).reshape([groups, total, bank.outputSize]);
  return matmul(giving, outputs).reshape([groups * tokens, bank.outputSize]);
}

/** Joins the shared branch to the routed output y `[T, O]`. */
export function mergeShared<Params>(
  branch: SharedBranch<Params>,
  params: Params,
  x: Tensor,
  routed: Tensor,
): Tensor {
  const shared = branch.forward(params, x);
  switch (branch.merge) {
    case "add":
      return add(routed, shared);
    case "average":
      return mul(add(routed, shared), 0.5);
    case "gate":
      return add(routed, mul(sigmoid(gateOf(branch, params, x)), shared));
    case "softmax2": {
      const shares = softmax(gateOf(branch, params, x));
      const share = (index: number): Tensor =>
        slice(shares, { starts: [0, index], sizes: [shares.shape[0] ?? 0, 1] });
      return add(mul(routed, share(0)), mul(shared, share(1)));
    }
  }
}

function gateOf<Params>(branch: SharedBranch<Params>, params: Params, x: Tensor): Tensor {
  if (branch.gate) return branch.gate(params, x);
  throw new UnsupportedError(`merge "${branch.merge}" needs a branch with a gate`, "gate");
}

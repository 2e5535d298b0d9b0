import {
  type Tensor,
  type TokenChoice,
  add,
  broadcast,
  equal,
  gatherRows,
  iota,
  matmul,
  mul,
  select,
  slice,
  softmax,
  sub,
  sum,
  takeAlong,
} from "@moiety/core";
import { type IdRange, isWithin } from "./range.ts";

/** Parameters of n constant experts. */
export interface ConstantParams {
  /** `[n, 2, H]`. */
  readonly gate: Tensor;
  /** `[n, O]`. */
  readonly constant: Tensor;
}

/**
 * The combined output `[T, H]` of the choices that fell on constant experts:
 * `Σⱼ wⱼ (a₀·x + a₁·vₑⱼ)`, a = softmax(Wₑⱼ·x).
 */
export function constantsOfChoices(
  { gate, constant }: ConstantParams,
  range: IdRange,
  x: Tensor,
  { indices, outputWeights, inputWeights }: TokenChoice,
): Tensor {
  const [tokens = 0, choices = 0] = indices.shape;
  const chosen = isWithin(indices, range);
  const slots = select(chosen, sub(indices, range.start), range.count);
  const [kept, constantShare] = sharesOf(gate, x, slots, inputWeights);
  const weigh = (share: Tensor): Tensor => select(chosen, mul(outputWeights, share), 0);
  const copies = weigh(inputWeights ? mul(kept, inputWeights) : kept);
  // [T, n]: how much of each constant a token takes.
  const places = iota(x.backend, { shape: [range.count], axis: 0, dtype: "i32" });
  const hits = equal(slots.reshape([tokens, choices, 1]), places);
  const amounts = sum(select(hits, weigh(constantShare).reshape([tokens, choices, 1]), 0), [1]);
  return add(mul(x, sum(copies, [1], true)), matmul(amounts, constant));
}

/** What constant experts make of rows `[A, H]`; rows of other experts may hold anything. */
export function constantsOfRows(
  { gate, constant }: ConstantParams,
  range: IdRange,
  x: Tensor,
  group: Tensor,
): Tensor {
  const slots = select(isWithin(group, range), sub(group, range.start), range.count);
  const [kept, share] = sharesOf(gate, x, slots.reshape([group.size, 1]), undefined);
  return add(mul(x, kept), mul(gatherRows(constant, slots), share));
}

/** `slots [N, c]` → how much of x and of the constant each takes, `[N, c]` both. */
function sharesOf(
  gate: Tensor,
  x: Tensor,
  slots: Tensor,
  inputWeights: Tensor | undefined,
): [kept: Tensor, constant: Tensor] {
  const [count = 0, , width = 0] = gate.shape;
  const [rows = 0, choices = 0] = slots.shape;
  const shape = [rows, choices, 2];
  const all = matmul(x, gate.reshape([2 * count, width]), { transposeB: true });
  const columns = broadcast(slots.reshape([rows, choices, 1]), { shape });
  const own = takeAlong(all.reshape([rows, count, 2]), columns, { axis: 1 });
  const logits = inputWeights ? mul(own, inputWeights.reshape([rows, choices, 1])) : own;
  const shares = softmax(logits);
  const side = (which: number): Tensor =>
    slice(shares, { starts: [0, 0, which], sizes: [rows, choices, 1] }).reshape([rows, choices]);
  return [side(0), side(1)];
}

import { type Tensor, concat, slice } from "@moiety/core";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";
import { sumOfChoices } from "./parts/choices.ts";

/** A backend in which experts add their outputs up by float atomics, in another order each time. */
export const combineInAnyOrder: BrokenBackend = /*#__PURE__*/ broken({
  name: "combine-in-any-order",
  fault: "experts add their outputs up by float atomics, in another order each time",
  caughtBy: "L3/deterministic/many-choices",
  shows: ["moeFfn"],
  makeKernels() {
    let calls = 0;
    return {
      moeFfn(call) {
        const k = call.input(1).width;
        const first = k === 0 ? 0 : calls++ % k;
        return call.tensors((inputs, attributes) => {
          const turned = [1, 2, 7].reduce((list, place) => {
            const of = list[place];
            return list.with(place, of && turn(of, first));
          }, inputs);
          return [sumOfChoices(turned, attributes)];
        });
      },
    };
  },
});

/** Choices `[T, k]` from the one at `first` on, the earlier ones behind. */
function turn(x: Tensor, first: number): Tensor {
  const [tokens = 0, k = 0] = x.shape;
  if (first === 0) return x;
  const part = (start: number, count: number): Tensor =>
    slice(x, { starts: [0, start], sizes: [tokens, count] });
  return concat(part(first, k - first), part(0, first), { axis: 1 });
}

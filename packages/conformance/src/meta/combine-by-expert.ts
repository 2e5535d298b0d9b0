import { argsort, takeAlong } from "@moiety/core";
import { sumOfChoices } from "./parts/choices.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/**
 * A backend in which the outputs of experts are added in the order of their numbers instead of that
 * of choices.
 */
export const combineByExpert: BrokenBackend = /*#__PURE__*/ broken({
  name: "combine-by-expert",
  fault:
    "the outputs of experts are added in the order of their numbers instead of that of choices",
  caughtBy: "L3/moe-ffn/choice-order",
  kernels: {
    moeFfn: (call) =>
      call.tensors((inputs, attributes) => {
        const [, indices] = inputs;
        if (!indices) return [];
        const order = argsort(indices, undefined, {});
        const sorted = [1, 2, 7].reduce((list, place) => {
          const of = list[place];
          return list.with(place, of && takeAlong(of, order, { axis: 1 }));
        }, inputs);
        return [sumOfChoices(sorted, attributes)];
      }),
  },
});

import {
  type ExpertBank,
  type Tensor,
  mixExperts,
  mul,
  sum,
  tanh,
  transpose,
  valueAndGrad,
} from "@moiety/core";
import { type SoftParams, softRouter } from "@moiety/routers";
import { requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import { evenSequences, floatTensor, takeValues } from "../values.ts";

/** `vmoe_soft`: vmoe's Soft MoE around experts y = tanh(slot), with its slots and gradients. */
export const vmoeSoft: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const { config } = golden;
  const [experts, slots, width] = [
    countOf(config, "num_experts"),
    countOf(config, "num_slots"),
    countOf(config, "dim"),
  ];
  const x = requireTensor(golden, "x");
  const [groups = 0, length = 0] = x.shape;
  const router = softRouter({ hiddenSize: width, numExperts: experts, numSlots: slots });
  const rows = [groups * length, width];
  const ledger = openLedger(
    golden,
    context,
    [width, width, experts * slots, length, experts * slots],
    (name) => isFloat32Run(name) || name.startsWith("weights.") || ["x", "upstream"].includes(name),
  );
  const results = backend.scope(() => {
    const mu = floatTensor(backend, requireTensor(golden, "weights.mu"), precision);
    const scale = floatTensor(backend, requireTensor(golden, "weights.scale"), precision);
    const upstream = floatTensor(backend, requireTensor(golden, "upstream"), precision, rows);
    const { grads, aux } = valueAndGrad(
      (given: { readonly router: SoftParams; readonly x: Tensor }) => {
        const context = { sequences: evenSequences(groups, length) };
        const routing = router.route(given.router, {}, given.x, context);
        let seen: Tensor | undefined;
        const bank: ExpertBank<undefined> = {
          experts,
          inputSize: width,
          outputSize: width,
          init: () => ({ params: undefined, state: {} }),
          forward(_, { source }) {
            seen = source;
            return tanh(source);
          },
        };
        const output = mixExperts(bank, undefined, given.x, routing);
        return {
          loss: sum(mul(output, upstream)),
          aux: {
            output,
            slots: seen ?? output,
            combine_weights: routing.combine,
            dispatch_weights: routing.dispatch,
          },
        };
      },
    )({
      router: { slots: transpose(mu, { permutation: [1, 2, 0] }), scale },
      x: floatTensor(backend, x, precision, rows),
    });
    return {
      ...aux,
      "grad.x": grads.x as Tensor,
      "grad.weights.scale": grads.router.scale as Tensor,
      "grad.weights.mu": transpose(grads.router.slots as Tensor, { permutation: [2, 0, 1] }),
    };
  });
  for (const [name, values] of await takeValues(results, context)) {
    // The same numbers in the same order, with the slots of all experts in one axis or in two.
    ledger.compare(name, { ...values, shape: requireTensor(golden, name).shape });
  }
  return ledger.close();
};

import {
  type RouteContext,
  ShapeError,
  type Tensor,
  add,
  atLeast,
  foldIn,
  formatShape,
  matmul,
  normalParameter,
  sameShape,
} from "@moiety/core";
import { type Gate, routerParameter } from "./gate.ts";
import { refuseOption, requirePositive, requireWhole } from "./option.ts";

/** Beside a gate's own parameters. */
export interface PreviousGateParams {
  /** `[E, E']` maps an earlier layer's logits; absent in the first layer. */
  readonly residual?: Tensor | undefined;
}

/** Options of {@link previousGate}. */
export interface PreviousGateOptions<Params> {
  readonly gate: Gate<Params>;
  /** Whether this is the first such layer, which has nothing to look back at. False unless given. */
  readonly first?: boolean | undefined;
  /** E' of the earlier layer; as many as here unless given. */
  readonly previousExperts?: number | undefined;
  /** Standard deviation of the initial map; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits = gate(x) + previous · Wᵀ`: gating residuals, with `previous` the logits of an earlier
 * layer's router, which it finds in `context.previous.logits`. It carries its own logits on under
 * that name.
 *
 * Paper: Jin et al., "MoE++" (2024). Source: MoE++ `moe_plus_plus_layer.py`, `Router`.
 * @throws ConfigError
 */
export function previousGate<Params extends object>(
  options: PreviousGateOptions<Params>,
): Gate<Params & PreviousGateParams> {
  const { gate, first = false, initializerRange = 0.02 } = options;
  const { previousExperts = gate.experts } = options;
  requireWhole("previousExperts", previousExperts);
  requirePositive("initializerRange", initializerRange);
  const shape = first ? undefined : [gate.experts, previousExperts];
  type Own = Gate<Params & PreviousGateParams>;
  return {
    experts: gate.experts,
    inputSize: gate.inputSize,
    shapes: { ...gate.shapes, ...(shape && { residual: shape }) } as Own["shapes"],
    init: (key, init) => ({
      ...gate.init(key, init),
      ...(shape && { residual: normalParameter(foldIn(key, 0), shape, initializerRange, init) }),
    }),
    forward(params, x, context) {
      const { residual: _, ...own } = params;
      const weight = routerParameter<PreviousGateParams>(params, "residual", shape);
      const { logits: direct, carry } = gate.forward(own as unknown as Params, x, context);
      const logits = weight
        ? add(
            direct,
            matmul(previousTensor(context, "logits", [x.shape[0] ?? 0, previousExperts]), weight, {
              transposeB: true,
            }),
          )
        : direct;
      return { logits, carry: { ...carry, logits } };
    },
  };
}

/**
 * What an earlier layer's routing carried under a name, as float32 at least.
 * @throws ConfigError where there is none, ShapeError where it has another shape
 */
export function previousTensor(
  { previous }: RouteContext,
  name: string,
  shape: readonly number[],
): Tensor {
  const tensor = previous?.[name];
  if (tensor === undefined) {
    throw refuseOption(
      `context.previous.${name}`,
      tensor,
      "what the routing of an earlier layer carried (routing.carry)",
    );
  }
  if (sameShape(tensor.shape, shape)) return atLeast(tensor, "f32");
  throw new ShapeError(
    `context.previous.${name} is ${formatShape(tensor.shape)}, but must be ${formatShape(shape)}`,
    { shapes: [tensor.shape] },
  );
}

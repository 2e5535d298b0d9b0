import {
  type Carry,
  ConfigError,
  type InitOptions,
  type MapTree,
  type NoState,
  type RandomKey,
  type RouteContext,
  type Router,
  type Shape,
  ShapeError,
  type Tensor,
  atLeast,
  formatShape,
  sameShape,
} from "@moiety/core";

/** The shape of every leaf of a tree. */
export type ShapesOf<Tree> = MapTree<Tree, Shape>;

/** A router that says the shape of every leaf, so that files can be read into it. */
export interface ShapedRouter<Params, State = NoState> extends Router<Params, State> {
  readonly shapes: ShapesOf<Params>;
  readonly stateShapes: ShapesOf<State>;
}

/** What a gate makes of its input. */
export interface GateOutput {
  /** `[T, E]` float32 at least. */
  readonly logits: Tensor;
  /** For the gate of a later layer. */
  readonly carry?: Carry | undefined;
}

/** How a router comes from its input to logits; the stages follow. */
export interface Gate<Params> {
  /** E. */
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  readonly shapes: ShapesOf<Params>;
  /** Draws parameters on the host. */
  init(key: RandomKey, options: InitOptions): Params;
  /** `x [T, H]`, float32 at least. */
  forward(params: Params, x: Tensor, context: RouteContext): GateOutput;
}

/**
 * A parameter of a router as float32 at least; `undefined` where its options do not ask for it.
 * @throws ConfigError where it is missing or too much, ShapeError where it has another shape
 */
export function routerParameter<Params extends object>(
  params: Params,
  key: keyof Params & string,
  shape: Shape | undefined,
): Tensor | undefined {
  const tensor = params[key] as Tensor | undefined;
  if ((shape !== undefined) !== (tensor !== undefined)) {
    const fault = shape ? "needs" : "has no use for";
    throw new ConfigError(
      `the router ${fault} params.${key}; pass what init made`,
      `params.${key}`,
      tensor,
    );
  }
  if (tensor === undefined || shape === undefined) return undefined;
  if (sameShape(tensor.shape, shape)) return atLeast(tensor, "f32");
  throw new ShapeError(
    `params.${key} is ${formatShape(tensor.shape)}, but must be ${formatShape(shape)}`,
    { shapes: [tensor.shape] },
  );
}

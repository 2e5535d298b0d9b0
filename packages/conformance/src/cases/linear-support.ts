import {
  type AnyOp,
  type Capabilities,
  type ProductFormat,
  type Shape,
  type Tensor,
  cast,
  dequantize,
  linear,
  matmul,
  quantizedFormats,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Extension } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { bfloated, halved } from "./half-support.ts";
import { type CaseParts, caseOf, holds } from "./l3-support.ts";
import { lacks, quantised, ranAsClaimed } from "./quantised-support.ts";
import { ROUND_OPS, stepped } from "./rounded-support.ts";

/** How the weights of a product are held. */
export interface Holding {
  /** As it stands in demands. */
  readonly name: string;
  /** Begins the ids of its cases, behind the level. */
  readonly prefix: string;
  readonly extension?: Extension | undefined;
  /** Its name among the manifest's formats. */
  readonly claim?: string | undefined;
  readonly format?: ProductFormat | undefined;
  /** The ops of the product taken apart. */
  readonly ops: readonly AnyOp[];
  /** Widths of rows that it can have. */
  readonly widths: readonly number[];
  unsupported?(capabilities: Capabilities): string | undefined;
  /** A matrix as it is held. */
  hold(matrix: HostTensor): LinearWeight;
}

/** A matrix as it is held. */
export interface LinearWeight {
  readonly weight: HostTensor;
  readonly scales: HostTensor | undefined;
}

/** Inputs of a product. */
export interface LinearHosts extends LinearWeight {
  readonly x: HostTensor;
}

/** The same on a backend. */
export interface LinearTensors {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly scales: Tensor | undefined;
}

/** Whole blocks, and what ends within a vector, a word or a tile. */
const ANY_WIDTH = [1, 3, 31, 32, 33, 96] as const;
const WHOLE_BLOCKS = [32, 64, 96] as const;

const floats = (hold: (matrix: HostTensor) => HostTensor): Pick<Holding, "hold" | "widths"> => ({
  widths: ANY_WIDTH,
  hold: (matrix) => ({ weight: hold(matrix), scales: undefined }),
});

/** Weights in the dtype of activations. */
export const FLOATS: Holding = {
  name: "float32",
  prefix: "linear/",
  ops: [matmul],
  ...floats((matrix) => matrix),
};

/** Weights in half floats. */
export const HALVES: readonly Holding[] = [
  {
    name: "f16",
    prefix: "f16/linear-",
    extension: "f16",
    claim: "f16",
    ops: [matmul, cast],
    ...floats(halved),
  },
  {
    name: "bf16",
    prefix: "f16/linear-bf16-",
    extension: "f16",
    claim: "bf16",
    ops: [matmul, cast],
    unsupported: ({ dtypes }) => (dtypes.includes("bf16") ? undefined : "the manifest has no bf16"),
    ...floats(bfloated),
  },
];

/** Weights in codes and scales. */
export function codesOf(format: ProductFormat): Holding {
  const { block } = quantizedFormats[storedFormat(format)];
  return {
    name: format,
    prefix: `quantised/${format}-linear-`,
    extension: "quantised",
    claim: format,
    format,
    ops: [matmul, dequantize, ...(roundsActivations(format) ? ROUND_OPS : [])],
    widths: block === undefined ? ANY_WIDTH : WHOLE_BLOCKS,
    unsupported: (capabilities) => lacks(format, capabilities),
    hold(matrix) {
      const { codes, scales } = quantised(format, matrix);
      return { weight: codes, scales };
    },
  };
}

/** A case of a product whose weight is held in one way. */
export function linearCase(
  holding: Holding,
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase {
  const { prefix, extension, ops } = holding;
  return caseOf("L3", `${prefix}${what}`, {
    demand,
    extension,
    ops,
    unsupported: (capabilities) => holding.unsupported?.(capabilities),
    run,
    ...more,
  });
}

/** Rows that every honest backend reads alike. */
export function rowsFor({ random }: CaseContext, { format }: Holding, shape: Shape): HostTensor {
  return format && roundsActivations(format) ? stepped(random, shape) : random.normal(shape);
}

/** Draws the inputs of a product of `x` of this shape and a matrix of `columns` rows. */
export function linearHosts(
  test: CaseContext,
  holding: Holding,
  shape: Shape,
  columns: number,
): LinearHosts {
  const inner = shape.at(-1) ?? 0;
  const matrix = test.random.normal([columns, inner], 1 / Math.sqrt(Math.max(1, inner)));
  return { x: rowsFor(test, holding, shape), ...holding.hold(matrix) };
}

/** The product. */
export function linearOf({ x, weight, scales }: LinearTensors, { format }: Holding): Tensor {
  return linear(x, weight, scales, { format });
}

/** Holds a product to the references, and the manifest to what it says of the weight's format. */
export async function checkLinear(
  test: CaseContext,
  holding: Holding,
  hosts: LinearHosts,
): Promise<void> {
  await holds(test, { ...hosts }, (given) => ({ y: linearOf(given, holding) }));
  if (holding.claim) ranAsClaimed(test, linear, holding.claim);
}

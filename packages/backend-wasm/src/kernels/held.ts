import { type ProductFormat, DTypeError, roundsActivations, storedFormat } from "@moiety/core";
import type { KernelCall, Operand } from "../kernel.ts";
import type { LaunchArguments, Parameters, Routine } from "../routine.ts";
import type { Segment } from "./products/job.ts";
import {
  type FactorDType,
  type Product,
  type ProductDefinition,
  type RightFactor,
  defineProduct,
  launchProduct,
  packWeights,
} from "./products/index.ts";
import { type NoParameters, rowsProduct } from "./products/plain.ts";
import type { ProductLaunch } from "./products/product.ts";
import {
  type CodesMatrix,
  type CodesProduct,
  defineCodesProduct,
  launchCodesProduct,
  packCodesOf,
  rowsCodesProduct,
} from "./quantized/index.ts";
import {
  type RoundedProduct,
  defineRoundedProduct,
  launchRoundedProduct,
  packBlocks,
  rowsRoundedProduct,
} from "./rounded/index.ts";

/** A product of rows and weights, by how the weights are held: floats, codes, or codes that meet rounded rows. */
export interface HeldProduct<P extends Parameters> {
  readonly floats: Product<P>;
  readonly codes: CodesProduct<P>;
  readonly rounded: RoundedProduct<P>;
}

/** Defines the three products with one epilogue. */
export function defineHeldProduct<P extends Parameters>(
  definition: ProductDefinition<P>,
): HeldProduct<P> {
  const floats = defineProduct(definition);
  return {
    floats,
    codes: defineCodesProduct(definition, floats),
    rounded: defineRoundedProduct(definition),
  };
}

/** The routines of the three. */
export function heldRoutines<P extends Parameters>(product: HeldProduct<P>): readonly Routine[] {
  const { floats, codes, rounded } = product;
  return [floats.routine, codes.routine, rounded.routine] as readonly Routine[];
}

/** Rows times weights, as they are. */
export const rowsHeldProduct: HeldProduct<NoParameters> = {
  floats: rowsProduct,
  codes: rowsCodesProduct,
  rounded: rowsRoundedProduct,
};

/** Weights as they are held: matrices of floats, or of codes in a format. */
export interface HeldWeights {
  readonly weights: Operand;
  /** How floats lie; not asked for of codes. */
  readonly factor: () => RightFactor;
  readonly codes?: CodesMatrix | undefined;
  readonly format?: ProductFormat | undefined;
}

/** Whether products with such weights read rounded rows. */
export function readsRounded({ format }: Pick<HeldWeights, "format">): boolean {
  return format !== undefined && roundsActivations(format);
}

/** Codes of a format as the right factor of products. */
export function codesMatrix(
  format: ProductFormat,
  matrix: Omit<CodesMatrix, "format">,
): CodesMatrix {
  return { ...matrix, format: storedFormat(format) };
}

/** What floats may be held in. */
const HELD: readonly FactorDType[] = ["f32", "f16", "bf16"];

/** The dtype of weights that are floats. @throws DTypeError for others */
export function heldFactorDType(op: string, { dtype }: Operand): FactorDType {
  const held = HELD.find((known) => known === dtype);
  if (held) return held;
  throw new DTypeError(`${op} takes no weights in ${dtype}`, { op });
}

/** Some rows times one of the matrices: its number is the segment's group. */
export type HeldSegment = Omit<Segment, "right" | "columns">;

/** Packed weights, and how a product with them is launched. */
export interface PackedWeights {
  /** Columns of a product with a matrix; with two kinds all lanes of all panels. */
  readonly columns: number;
  launch<P extends Parameters>(
    product: HeldProduct<P>,
    launch: Omit<ProductLaunch, "segments"> & { readonly segments: readonly HeldSegment[] },
    more: LaunchArguments<P>,
  ): void;
}

/** Packs weights: at their first use, and kept as long as they stay what they are. */
export function packHeld(call: KernelCall, held: HeldWeights): PackedWeights {
  const { codes } = held;
  if (codes === undefined) {
    const packed = packWeights(call, held.weights, held.factor());
    const { columns } = packed;
    return {
      columns,
      launch: (product, launch, more) =>
        launchProduct(call, product.floats, { ...launch, segments: placed(launch, packed) }, more),
    };
  }
  if (readsRounded(held)) {
    const packed = packBlocks(call, codes);
    const { columns } = packed;
    return {
      columns,
      launch: (product, launch, more) => {
        const segments = placed(launch, { columns, address: 0, matrixBytes: 0 });
        const given = { ...launch, segments };
        launchRoundedProduct(call, product.rounded, codes, packed, given, more);
      },
    };
  }
  const packed = packCodesOf(call, codes);
  const { columns } = packed;
  return {
    columns,
    launch: (product, launch, more) => {
      const given = { ...launch, segments: placed(launch, packed) };
      launchCodesProduct(call, product.codes, codes, packed, given, more);
    },
  };
}

function placed(
  { segments }: { readonly segments: readonly HeldSegment[] },
  {
    address,
    matrixBytes,
    columns,
  }: Readonly<Record<"address" | "matrixBytes" | "columns", number>>,
): Segment[] {
  return segments.map((segment) => ({
    ...segment,
    columns,
    right: address + segment.group * matrixBytes,
  }));
}

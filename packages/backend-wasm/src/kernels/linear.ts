import type { LinearAttributes } from "@moiety/core";
import type { Kernel, KernelSet } from "../kernel.ts";
import { codesMatrix, heldFactorDType, packHeld, readsRounded, rowsHeldProduct } from "./held.ts";
import { roundedRoutines, roundedRows } from "./rounded/index.ts";

/** Rows through a matrix `[N, K]`, held in floats, halves or codes. */
const linear: Kernel = (call) => {
  const { format } = call.attributes<LinearAttributes>();
  const [x, weights, scales] = [call.input(0), call.input(1), call.optional(2)];
  const inner = x.shape.at(-1) ?? 0;
  const columns = call.spec(0).shape.at(-1) ?? 0;
  const output = call.make(0);
  if (call.outputSize(0) === 0) return [output];
  const rows = call.outputSize(0) / columns;
  const sizes = { matrices: 1, inner, columns };
  const held = {
    weights,
    format,
    factor: () => ({
      ...sizes,
      dtype: heldFactorDType("linear", weights),
      matrixStride: inner * columns,
      innerStride: 1,
      columnStride: inner,
    }),
    codes:
      format && scales
        ? codesMatrix(format, {
            ...sizes,
            codes: weights,
            scales,
            stored: columns,
            transposed: false,
            step: 1,
          })
        : undefined,
  };
  const packed = packHeld(call, held);
  const floats = { address: x.address, stride: inner * 4 };
  const left = readsRounded(held) ? roundedRows(call, floats, rows, inner) : floats;
  const { stride } = left;
  const segment = { left: left.address, rows, row: 0, group: 0, inner, leftStep: stride };
  const launch = {
    segments: [segment],
    leftStride: stride,
    out: output.address,
    outStride: columns * 4,
  };
  packed.launch(rowsHeldProduct, launch, {});
  return [output];
};

/** Products with a weight that may be held in fewer bits. */
export const linearKernels: KernelSet = { kernels: { linear }, routines: roundedRoutines };

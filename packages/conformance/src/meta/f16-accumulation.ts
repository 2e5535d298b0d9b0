import { type Tensor, add, cast } from "@moiety/core";
import { productPieces } from "./parts/matrix-pieces.ts";
import { type BrokenBackend, broken } from "./parts/broken-backend.ts";

/** A backend in which sums are accumulated in f16 while the manifest declares f32. */
export const f16Accumulation: BrokenBackend = /*#__PURE__*/ broken({
  name: "f16-accumulation",
  fault: "sums are accumulated in f16 while the manifest declares f32",
  caughtBy: "L3/matmul/all-positive",
  kernels: {
    matmul: (call) =>
      call.tensors(([a, b]) => {
        if (!a || !b) return [];
        const half = (x: Tensor): Tensor => cast(cast(x, { dtype: "f16" }), { dtype: "f32" });
        const pieces = productPieces(a, b, call.attributes(), 64);
        return [
          a.dtype === "f32"
            ? pieces.reduce((sum, piece) => half(add(sum, piece)))
            : pieces.reduce((sum, piece) => add(sum, piece)),
        ];
      }),
  },
});

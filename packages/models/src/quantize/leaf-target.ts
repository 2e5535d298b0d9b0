import type { TensorBinding } from "@moiety/checkpoints";
import {
  type Backend,
  type DType,
  type FloatDType,
  type Leaf,
  UnsupportedError,
  bytesPerElement,
  formatShape,
  hostArray,
} from "@moiety/core";
import type { ModelConfig } from "../from-config.ts";
import { CODES, SCALES } from "./bindings.ts";
import { CodesWriter } from "./codes-writer.ts";
import { codesFormat, disposeLeaf, isTransposed, planLeaf, swapLast } from "./leaves.ts";
import { narrowed } from "./narrow.ts";
import { type Quantization, type RestDType, readQuantization } from "./quantization.ts";

/** What a leaf's values are written to while they are read from a checkpoint. */
export interface LeafTarget {
  /** How the values are to be read. */
  readonly binding: TensorBinding;
  readonly dtype: DType;
  /** Takes values at a byte offset among those of `dtype`. */
  write(offset: number, bytes: Uint8Array): void;
  /** Ends it. @throws NumericError naming the leaf, where it is not finite or beyond its dtype */
  finish(): Leaf | Promise<Leaf>;
  /** Frees what stands so far. */
  discard(): void;
}

/** What the leaves of a model are made of and held in. */
export interface LeafOptions {
  readonly backend: Backend;
  /** Of floats. */
  readonly dtype: FloatDType;
  /** Whether the leaf holds whole numbers, as tables of routers do. False unless given. */
  readonly whole?: boolean | undefined;
  /** Of the model in the checkpoint. */
  readonly config: ModelConfig;
  /** What is to be done to it. */
  readonly quantize?: Quantization | undefined;
}

/** Makes the target of a leaf; its values are never held as a whole but where the leaf is theirs. */
export function leafTarget(binding: TensorBinding, options: LeafOptions): LeafTarget {
  const { backend, dtype, config, quantize = {} } = options;
  const { path, shape } = binding;
  const plan = planLeaf(path, shape, quantize);
  if (plan.kind === "codes") {
    const straight = isTransposed(config.decoder, path) ? turned(binding) : binding;
    const writer = new CodesWriter(backend, path, straight.shape, plan.format);
    return {
      binding: straight,
      dtype,
      write: (offset, bytes) => {
        const size = bytesPerElement(dtype);
        const { buffer, byteOffset, length } = bytes;
        writer.write(offset / size, hostArray(dtype, buffer, byteOffset, length / size));
      },
      finish: () => writer.finish(),
      discard: () => disposeLeaf(writer.finish()),
    };
  }
  const held = heldDType(binding, options);
  const upload = backend.upload({ shape, dtype: held });
  const narrow = plan.kind === "floats" && plan.dtype !== held && !isFull(plan.dtype, held);
  return {
    binding,
    dtype: held,
    write: (offset, bytes) => upload.write(offset, bytes),
    async finish() {
      const leaf = upload.finish();
      if (!narrow) return leaf;
      try {
        return await narrowed(leaf, plan.dtype, path);
      } finally {
        leaf.dispose();
      }
    },
    discard: () => upload.finish().dispose(),
  };
}

/** The dtype in which a leaf's values are read: that of the file, where it holds codes or halves. */
function heldDType({ path, shape }: TensorBinding, { dtype, whole, config }: LeafOptions): DType {
  if (whole) return "i32";
  const { quantization } = readQuantization(config.document.value);
  if (path.endsWith(CODES)) return "u8";
  if (path.endsWith(SCALES)) {
    const format = codesFormat(path.slice(0, -SCALES.length), quantization);
    return format === "mxfp4" ? "u8" : "f32";
  }
  const plan = planLeaf(path, shape, quantization);
  return plan.kind === "floats" && plan.dtype !== "f32" ? plan.dtype : dtype;
}

/** Whether `f32` was asked for, which stands for all full floats, and it is held in one. */
function isFull(wanted: RestDType, held: DType): boolean {
  return wanted === "f32" && held === "f64";
}

/** The binding of matrices `[…, in, out]` as `[…, out, in]`. @throws UnsupportedError */
function turned(binding: TensorBinding): TensorBinding {
  const { path, shape, parts, isTransposed } = binding;
  const [rows = 0, columns = 0] = shape.slice(-2);
  // Tensors that share an expert share its columns then, whose elements are not neighbours.
  const isWhole = parts.every(
    ({ size, pieces: { count } = { count: 1 } }) => (size / count) % (rows * columns) === 0,
  );
  if (isWhole) return { ...binding, shape: swapLast(shape), isTransposed: !isTransposed };
  throw new UnsupportedError(
    `${path} ${formatShape(shape)} is made of several tensors for each network that lie [in, out]; ` +
      "load it as it is and quantise it then",
    "quantising transposed networks of several tensors",
  );
}

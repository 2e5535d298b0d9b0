import type { Backend } from "./contract.ts";
import { type DType, type HostArray, bytesPerElement, hostArray } from "./dtype.ts";
import type { Engine } from "./engine.ts";
import { ShapeError, UseAfterDisposeError } from "./errors.ts";
import { type Shape, formatShape, sizeOf } from "./shape.ts";
import type { Scope } from "./scope.ts";
import type { Storage } from "./storage.ts";
import type { TracedOutput } from "./trace.ts";

/** What the library itself knows of a tensor. Not for users. */
export interface TensorInternals {
  readonly engine: Engine;
  readonly storage: Storage;
  /** The gradient node that made it, when it is traced. */
  readonly source: TracedOutput | undefined;
  disposed: boolean;
  donated: boolean;
  /** The scope that will free it. */
  scope: Scope | undefined;
}

/** Key of {@link TensorInternals} on a tensor. Not for users. */
export const internals = "~tensor";

/**
 * An immutable n-dimensional array on a backend. It holds one reference to its buffer: `dispose`
 * gives it back, and a scope does so by itself.
 */
export class Tensor {
  /** Sizes of the dimensions, outermost first. */
  readonly shape: Shape;
  readonly dtype: DType;
  /** @internal */
  readonly "~tensor": TensorInternals;

  /** @internal */
  constructor(shape: Shape, dtype: DType, inside: TensorInternals) {
    this.shape = shape;
    this.dtype = dtype;
    this[internals] = inside;
    inside.storage.retain();
    inside.engine.adopt(this);
  }

  /** The backend that holds this tensor. */
  get backend(): Backend {
    return this[internals].engine;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Whether gradients are being recorded through this tensor. */
  get traced(): boolean {
    return this[internals].source !== undefined;
  }

  /** Whether it was disposed, freed by its scope, or donated. */
  get disposed(): boolean {
    return this[internals].disposed;
  }

  /**
   * The same values under another shape of equal size; one dimension may be -1. Free: no copy.
   * @throws ShapeError
   */
  reshape(shape: Shape): Tensor {
    assertAlive(this);
    const resolved = resolveShape(this, shape);
    return this[internals].engine.view(this, resolved);
  }

  /** Reads the values: a new host array of the dtype's class (f16 and bf16 as bit patterns). */
  async read(): Promise<HostArray> {
    assertAlive(this);
    const { engine, storage } = this[internals];
    const bytes = await engine.readStorage(storage, this.size * bytesPerElement(this.dtype));
    return hostArray(this.dtype, bytes.buffer, bytes.byteOffset, this.size);
  }

  /** Reads a tensor of one element. @throws ShapeError when it has more. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new ShapeError(`item() needs one element, not shape ${formatShape(this.shape)}`);
    }
    return (await this.read())[0] ?? Number.NaN;
  }

  /** Gives the buffer's reference back; idempotent. */
  dispose(): void {
    const inside = this[internals];
    if (inside.disposed) return;
    inside.disposed = true;
    inside.engine.abandon(this);
    inside.storage.release();
  }

  /** Name, shape and dtype, for logs. */
  toString(): string {
    return `Tensor(${this.dtype}${formatShape(this.shape)} on ${this.backend.name})`;
  }
}

/** Throws {@link UseAfterDisposeError} when the tensor is gone. */
export function assertAlive(tensor: Tensor, op?: string): void {
  const inside = tensor[internals];
  if (!inside.disposed) return;
  throw new UseAfterDisposeError(
    `${tensor} was ${inside.donated ? "donated" : "disposed (perhaps by the end of its scope)"}; ` +
      "return it from the scope, or use it before it ends",
    { op, shapes: [tensor.shape] },
  );
}

/** Whether a value is a tensor. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

/** The same tensor outside any gradient: nothing that follows is traced through it. */
export function stopGradient(tensor: Tensor): Tensor {
  assertAlive(tensor);
  return alias(tensor, undefined);
}

/**
 * Permits the next op to write its output into this tensor's buffer. The tensor itself is dead
 * from here on. If something else still holds the buffer it is copied, and counted.
 */
export function donate(tensor: Tensor): Tensor {
  assertAlive(tensor);
  const { engine, storage, source } = tensor[internals];
  const result = new Tensor(tensor.shape, tensor.dtype, {
    engine,
    storage,
    source,
    disposed: false,
    donated: true,
    scope: undefined,
  });
  tensor.dispose();
  tensor[internals].donated = true;
  return result;
}

/** A second tensor over the same storage. */
export function alias(tensor: Tensor, source: TracedOutput | undefined, shape?: Shape): Tensor {
  const { engine, storage } = tensor[internals];
  return new Tensor(shape ?? tensor.shape, tensor.dtype, {
    engine,
    storage,
    source,
    disposed: false,
    donated: false,
    scope: undefined,
  });
}

function resolveShape(tensor: Tensor, shape: Shape): Shape {
  const known = shape.reduce((size, dimension) => (dimension === -1 ? size : size * dimension), 1);
  const open = shape.filter((dimension) => dimension === -1).length;
  const resolved =
    open === 1 && known > 0 ? shape.map((d) => (d === -1 ? tensor.size / known : d)) : shape;
  const valid = resolved.every((dimension) => Number.isInteger(dimension) && dimension >= 0);
  if (open > 1 || !valid || sizeOf(resolved) !== tensor.size) {
    throw new ShapeError(
      `cannot reshape ${formatShape(tensor.shape)} (${tensor.size} elements) to ${formatShape(shape)}`,
      { op: "reshape", shapes: [tensor.shape] },
    );
  }
  return resolved;
}

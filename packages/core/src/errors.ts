/** The stable codes of every error that Moiety throws, one for each class below. */
export type ErrorCode =
  | "SHAPE"
  | "DTYPE"
  | "UNSUPPORTED"
  | "OUT_OF_MEMORY"
  | "DEVICE_LOST"
  | "NUMERIC"
  | "FORMAT"
  | "CONFIG"
  | "USE_AFTER_DISPOSE";

/** What an error may carry beside its message. */
export interface ErrorDetails {
  /** Name of the op that was called. */
  readonly op?: string | undefined;
  /** Shapes of that op's inputs; an absent input is `null`. */
  readonly shapes?: readonly (readonly number[] | null)[] | undefined;
  /** The error underneath. */
  readonly cause?: unknown;
}

/** The family of every error that Moiety throws. `message` says what, where and what to do. */
export abstract class MoietyError extends Error {
  /** The stable code of this error's class. */
  abstract readonly code: ErrorCode;
  /** Name of the op that was called, where one was. */
  readonly op: string | undefined;
  /** Shapes of that op's inputs, where known. */
  readonly shapes: readonly (readonly number[] | null)[] | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.op = details.op;
    this.shapes = details.shapes;
  }
}

/** Shapes that do not fit an op or a file. */
export class ShapeError extends MoietyError {
  override readonly name: string = "ShapeError";
  readonly code = "SHAPE" as const;
}

/** A dtype that an op does not take, or dtypes that do not go together. */
export class DTypeError extends MoietyError {
  override readonly name: string = "DTypeError";
  readonly code = "DTYPE" as const;
}

/** Something that this backend, module or version cannot do; `capability` names what is missing. */
export class UnsupportedError extends MoietyError {
  override readonly name: string = "UnsupportedError";
  readonly code = "UNSUPPORTED" as const;
  /** The missing capability, such as an op's name or a dtype. */
  readonly capability: string;

  constructor(message: string, capability: string, details: ErrorDetails = {}) {
    super(message, details);
    this.capability = capability;
  }
}

/** The device has no room for an allocation. */
export class OutOfMemoryError extends MoietyError {
  override readonly name: string = "OutOfMemoryError";
  readonly code = "OUT_OF_MEMORY" as const;
  /** Bytes that were asked for. */
  readonly bytes: number;

  constructor(message: string, bytes: number, details: ErrorDetails = {}) {
    super(message, details);
    this.bytes = bytes;
  }
}

/** The device went away; tensors on it are lost. */
export class DeviceLostError extends MoietyError {
  override readonly name: string = "DeviceLostError";
  readonly code = "DEVICE_LOST" as const;
}

/** A loss, gradient or weight that is not finite where it must be. */
export class NumericError extends MoietyError {
  override readonly name: string = "NumericError";
  readonly code = "NUMERIC" as const;
}

/** A damaged or unknown file; `offset` is the byte at which it went wrong. */
export class FormatError extends MoietyError {
  override readonly name: string = "FormatError";
  readonly code = "FORMAT" as const;
  /** Byte offset from the start of the file. */
  readonly offset: number;

  constructor(message: string, offset: number, details: ErrorDetails = {}) {
    super(message, details);
    this.offset = offset;
  }
}

/** A configuration value that makes no sense; `key` and `value` name it. */
export class ConfigError extends MoietyError {
  override readonly name: string = "ConfigError";
  readonly code = "CONFIG" as const;
  /** The configuration key, as the user wrote it. */
  readonly key: string;
  /** The refused value. */
  readonly value: unknown;

  constructor(message: string, key: string, value: unknown, details: ErrorDetails = {}) {
    super(message, details);
    this.key = key;
    this.value = value;
  }
}

/** A tensor, backend or scope that was used after it was disposed or donated. */
export class UseAfterDisposeError extends MoietyError {
  override readonly name: string = "UseAfterDisposeError";
  readonly code = "USE_AFTER_DISPOSE" as const;
}

/**
 * What a case is, and what it is given: all that an author of cases must read.
 *
 * A case is a program over the public interface of `@moiety/core`. `test.compare` runs it on the
 * backend under test, on the oracle (whole in float64) and on the yardstick, which says for every
 * element how far an honest backend may be off; `test.observe` runs it on the backend alone.
 */
import type {
  AnyOp,
  Backend,
  Capabilities,
  FloatDType,
  HostArray,
  Shape,
  DType,
  Tensor,
} from "@moiety/core";
import type { HostTensor } from "./host-tensor.ts";
import type { CaseRandom } from "./random.ts";

/** Contract; routing; permute, dispatch and combine; experts; whole layer and balance losses. */
export type Level = "L0" | "L1" | "L2" | "L3" | "L4";

/** The levels in their order. */
export const LEVELS: readonly Level[] = ["L0", "L1", "L2", "L3", "L4"];

/** What goes beyond the forward pass that every backend owes. */
export type Extension =
  | "grad"
  | "deterministic"
  | "batch-invariant"
  | "f16"
  | "segmented"
  | "device-loss"
  | "capacity-drop"
  | "expert-choice"
  | "fused"
  | "quantised";

/** The extensions in the order of a report. */
export const EXTENSIONS: readonly Extension[] = [
  "grad",
  "deterministic",
  "batch-invariant",
  "f16",
  "segmented",
  "device-loss",
  "capacity-drop",
  "expert-choice",
  "fused",
  "quantised",
];

/** `inference`: forward; `training`: also gradients; `full`: also every extension. */
export type Profile = "inference" | "training" | "full";

/** The profiles, each containing the one before. */
export const PROFILES: readonly Profile[] = ["inference", "training", "full"];

/** One case of the kit. */
export interface ConformanceCase {
  /** `level/subject/what`, such as `L1/top-k/ties-all-equal`. Stable for ever. */
  readonly id: string;
  readonly level: Level;
  /** Absent: must pass in every profile that contains the level. */
  readonly extension?: Extension | undefined;
  /** One sentence: what is demanded of the backend. */
  readonly demand: string;
  /** The required ops whose kernels it needs; a manifest without one makes it `unsupported`. */
  readonly ops: readonly AnyOp[];
  /** ISO date from which the must-pass list contains it. */
  readonly since: string;
  /** Takes more than about a second on the oracle. */
  readonly heavy?: boolean | undefined;
  /** Why the manifest excuses the backend from this case; the only way to skip. */
  unsupported?(capabilities: Capabilities): string | undefined;
  /** Throws where the demand is not met. */
  run(test: CaseContext): Promise<void>;
}

/** Inputs of a program, by names of the case's own. */
export type HostTensors = Readonly<Record<string, HostTensor>>;

/** What a program returns: its outputs, by names of the case's own. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** What a program gets. */
export interface ProgramRun<Inputs extends HostTensors = HostTensors> {
  readonly backend: Backend;
  /** The float dtype of this run: `"f32"` under test, `"f64"` on the oracle and the yardstick. */
  readonly float: FloatDType;
  /** The uploaded inputs, under the names that the case gave them. */
  readonly inputs: { readonly [Name in keyof Inputs]: Tensor };
}

/** What a case runs. Synchronous, and depends on nothing but what it is given and the case's seed. */
export type Program<Inputs extends HostTensors = HostTensors, Outputs extends Tensors = Tensors> = (
  run: ProgramRun<Inputs>,
) => Outputs;

/** How {@link CaseContext.compare} judges. */
export interface CompareOptions {
  /**
   * Share of elements, 0 … 1, whose bound may be too wide to judge them by. Beyond it the inputs
   * were poor, which is an error of the case. 0.02 unless given.
   */
  readonly ambiguous?: number | undefined;
  /**
   * `match` (unless given): NaN and ±∞ must stand where the oracle has them. `ignore`: elements
   * that are not finite in the oracle are not looked at.
   */
  readonly nonFinite?: "match" | "ignore" | undefined;
  /** Float dtype of the run under test, f32 unless given; f64 needs a backend that claims it. */
  readonly float?: FloatDType | undefined;
  /**
   * Which outputs to compare; all unless given. (Integers that follow from computed floats are not
   * exact: judge them by the τ band.)
   */
  readonly outputs?: readonly string[] | undefined;
}

/** A reference value with the error that an honest backend may make in each element. */
export interface BoundedValues {
  /** The oracle's values: float64 for floats, else the dtype's array. */
  readonly values: HostArray;
  /** Allowed absolute error of each element; above 0 on an integer or bool: it may differ. */
  readonly bounds: Float64Array;
  readonly shape: Shape;
  /** As computed by the reference (floats are f64). */
  readonly dtype: DType;
}

/** A class of errors. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** What a case is given. */
export interface CaseContext {
  /** The backend under test. */
  readonly backend: Backend;
  readonly capabilities: Capabilities;
  /** Derived from the run's seed and the case's id. */
  readonly seed: number;
  readonly random: CaseRandom;
  /** Runs the program on the backend, the oracle and the yardstick, and compares every output. */
  compare<Inputs extends HostTensors>(
    inputs: Inputs,
    program: Program<Inputs>,
    options?: CompareOptions,
  ): Promise<void>;
  /** Runs the program on the references alone: to replay their routes, to build τ bands. Cached. */
  reference<Inputs extends HostTensors, Outputs extends Tensors>(
    inputs: Inputs,
    program: Program<Inputs, Outputs>,
  ): Promise<{ readonly [Name in keyof Outputs]: BoundedValues }>;
  /** Runs the program on the backend under test alone. */
  observe<Inputs extends HostTensors, Outputs extends Tensors>(
    inputs: Inputs,
    program: Program<Inputs, Outputs>,
    options?: Pick<CompareOptions, "float">,
  ): Promise<{ readonly [Name in keyof Outputs]: HostTensor }>;
  /** Judges values that {@link observe} gave by bounds that the case has from {@link reference}. */
  within(name: string, got: HostTensor, wanted: BoundedValues, options?: CompareOptions): void;
  /** Fails the case with the message unless `ok`. */
  expect(ok: boolean, message: string): void;
  /** Fails the case unless both are equal to the bit. */
  same(name: string, got: HostArray, wanted: HostArray): void;
  /** The error that `body` throws or rejects with; fails the case unless it is one of the class. */
  throws(errorClass: ErrorClass, body: () => unknown): Promise<Error>;
  /** Ends the case as an error of the kit: its inputs were too poor to judge a backend by. */
  poor(reason: string): never;
  /** A fresh backend of the same kind; the kit disposes it. */
  createBackend(): Promise<Backend>;
  /** Takes the device away from a backend; absent unless the caller or module gave it. */
  loseDevice?(backend: Backend): Promise<void>;
  /** A number for the report, such as `ambiguousTokens`. */
  note(key: string, value: number): void;
}

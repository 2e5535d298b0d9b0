import { type AnyOp, ConfigError } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import {
  type CaseContext,
  type CompareOptions,
  type ConformanceCase,
  type HostTensors,
  LEVELS,
  type Level,
  type Program,
} from "../case.ts";

/** What every case of your own says. */
export interface OwnCaseParts {
  /** `level/subject/what`, such as `L1/my-router/best-two`: begins with its level. */
  readonly id: string;
  /** One sentence: what is demanded of the backend. */
  readonly demand: string;
  /**
   * The required ops whose kernels it needs. Unless given: all that inference needs, and of a case
   * of gradients all that training needs, so that a backend without one of them is `unsupported`.
   */
  readonly ops?: readonly AnyOp[] | undefined;
  /** ISO date from which it counts; 2026-11-22 unless given. */
  readonly since?: string | undefined;
}

/** A case of a program over tensors. */
export interface ProgramCaseParts<Inputs extends HostTensors> extends OwnCaseParts {
  /** Draws the inputs from `test.random`. */
  inputs(test: CaseContext): Inputs | Promise<Inputs>;
  /** What is run: on the backend in float32, on the references in float64. */
  readonly program: Program<Inputs>;
  readonly compare?: CompareOptions | undefined;
}

/**
 * A case of your own: the program's outputs on the backend under test are held to the references,
 * floats within bounds that compose through every op, integers and bools exactly.
 * @throws ConfigError for an id that begins with no level
 *
 * @example
 * const mine = programCase({
 *   id: "L1/my-router/scores",
 *   demand: "scores are cosines",
 *   inputs: ({ random }) => ({ x: random.normal([9, 4]), w: random.normal([3, 4]) }),
 *   program: ({ inputs: { x, w } }) => ({ scores: matmul(x, w, { transposeB: true }) }),
 * });
 * await conform({ createBackend, extra: [mine] });
 */
export function programCase<Inputs extends HostTensors>({
  inputs,
  program,
  compare,
  ...parts
}: ProgramCaseParts<Inputs>): ConformanceCase {
  return ownCase({
    ...parts,
    run: async (test) => test.compare(await inputs(test), program, compare),
  });
}

/** What {@link ownCase} is made of. */
export interface WholeCaseParts
  extends OwnCaseParts, Pick<ConformanceCase, "run" | "extension" | "unsupported"> {}

/** A case with its level read off its id. @throws ConfigError */
export function ownCase({ id, ops, since, extension, ...parts }: WholeCaseParts): ConformanceCase {
  return {
    ...parts,
    id,
    level: levelOf(id),
    extension,
    ops: ops ?? (extension === "grad" ? trainingOps() : inferenceOps()),
    since: since ?? "2026-11-22",
  };
}

/** The level that an id begins with. @throws ConfigError where it begins with none */
function levelOf(id: string): Level {
  const [first, ...rest] = id.split("/");
  const level = LEVELS.find((one) => one === first);
  if (level !== undefined && rest.length > 0 && rest.every((part) => /^[\w.-]+$/u.test(part))) {
    return level;
  }
  throw new ConfigError(
    `a case's id is "${id}", but must be like L1/my-router/best-two: a level (${LEVELS.join(", ")}), ` +
      "then words of letters, digits, dots and dashes",
    "id",
    id,
  );
}

/** The ops whose kernels the profile `inference` requires. */
export function inferenceOps(): readonly AnyOp[] {
  return allOps.filter(({ identity }) => identity.kernel === "inference");
}

/** Those, and the ones that the profile `training` requires beside them. */
export function trainingOps(): readonly AnyOp[] {
  return allOps.filter(({ identity }) => identity.kernel !== "optional");
}

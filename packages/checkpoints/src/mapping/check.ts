import { FormatError, type Shape, formatShape, sameShape } from "@moiety/core";
import { listSome } from "../text.ts";
import type { TensorBinding } from "./bind.ts";
import { type HeldInfo, heldTensors } from "./held.ts";

/** A tensor that a checkpoint should hold. */
export interface MissingTensor {
  /** Its name in the checkpoint. */
  readonly name: string;
  /** The path that needs it. */
  readonly path: string;
}

/** A tensor whose shape does not fit the path that needs it. */
export interface MisshapedTensor extends MissingTensor {
  /** The shape that the path needs. */
  readonly expected: Shape;
  /** The shape in the checkpoint. */
  readonly found: Shape;
}

/** How a checkpoint and a parameter tree differ. */
export interface MappingReport {
  /** What the tree needs and the checkpoint lacks. */
  readonly missing: readonly MissingTensor[];
  /** Names in the checkpoint that no path takes. */
  readonly unexpected: readonly string[];
  /** What is there in another shape. */
  readonly misshaped: readonly MisshapedTensor[];
  /** Optional paths that the checkpoint does without; reading them would throw. */
  readonly absent: readonly string[];
}

/** A checkpoint that does not hold what its configuration needs. */
export class CheckpointMismatchError extends FormatError {
  /** What differs. */
  readonly report: MappingReport;

  constructor(message: string, report: MappingReport) {
    super(message, 0);
    this.report = report;
  }
}

/**
 * Compares what a tree needs with what a checkpoint's headers hold, before anything is read.
 * `ignore` names tensors that may be there unused; `{layer}` and `{expert}` in it stand for any
 * number, `{rest}` for anything.
 */
export function checkTensors(
  bindings: readonly TensorBinding[],
  tensors: ReadonlyMap<string, HeldInfo>,
  ignore: readonly string[] = [],
): MappingReport {
  const missing: MissingTensor[] = [];
  const misshaped: MisshapedTensor[] = [];
  const absent: string[] = [];
  const taken = new Set<string>();
  for (const binding of bindings) {
    const { path, isOptional } = binding;
    const lacking: MissingTensor[] = [];
    let count = 0;
    for (const part of binding.parts) {
      for (const { name, shape: expected } of heldTensors(binding, part, tensors)) {
        count++;
        const found = tensors.get(name)?.shape;
        if (found === undefined) {
          lacking.push({ name, path });
          continue;
        }
        taken.add(name);
        if (!sameShape(found, expected)) misshaped.push({ name, path, expected, found });
      }
    }
    if (isOptional && lacking.length === count) absent.push(path);
    else missing.push(...lacking);
  }
  const unexpected = taken.size < tensors.size ? untaken(tensors, taken, ignore) : [];
  return { missing, unexpected, misshaped, absent };
}

/** Names that no path takes and `ignore` does not name. */
function untaken(
  tensors: ReadonlyMap<string, HeldInfo>,
  taken: ReadonlySet<string>,
  ignore: readonly string[],
): string[] {
  const ignored = ignore.map(matcherOf);
  return [...tensors.keys()].filter(
    (name) => !taken.has(name) && !ignored.some((pattern) => pattern.test(name)),
  );
}

/**
 * Throws {@link CheckpointMismatchError}, naming the tensors, unless nothing is missing, unexpected
 * or misshaped. `where` is what the error calls the checkpoint.
 */
export function requireMatch(report: MappingReport, where: string): void {
  const { missing, unexpected, misshaped } = report;
  const faults: string[] = [];
  if (missing.length > 0) faults.push(`missing: ${listSome(missing.map(({ name }) => name))}`);
  if (unexpected.length > 0) faults.push(`unexpected: ${listSome(unexpected)}`);
  if (misshaped.length > 0) {
    const shapes = misshaped.map(
      ({ name, expected, found }) =>
        `${name} is ${formatShape(found)} where ${formatShape(expected)} is needed`,
    );
    faults.push(`misshaped: ${listSome(shapes)}`);
  }
  if (faults.length === 0) return;
  throw new CheckpointMismatchError(
    `${where} does not hold the tensors that its configuration needs; ${faults.join("; ")}; ` +
      "check that configuration and weights belong together",
    report,
  );
}

function matcherOf(pattern: string): RegExp {
  const literal = pattern.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  const open = literal.replace(/\\\{(?:layer|expert)\\\}/g, "\\d+").replace(/\\\{rest\\\}/g, ".*");
  return new RegExp(`^${open}$`);
}

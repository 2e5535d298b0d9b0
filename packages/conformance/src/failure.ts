/** What a case throws when the backend does not meet its demand: status `fail`. */
export class CaseFailure extends Error {
  override readonly name: string = "CaseFailure";
}

/** What is thrown when the kit itself is at fault, or a case's inputs were poor: status `error`. */
export class KitFault extends Error {
  override readonly name: string = "KitFault";
}

/** A thrown value as one line: our errors by name and message, others with where they came from. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  if (error instanceof CaseFailure || error instanceof KitFault) return error.message;
  const known = "code" in error;
  const where = known ? undefined : error.stack?.split("\n").find((line) => /^\s+at /.test(line));
  return `${error.name}: ${error.message}${where === undefined ? "" : ` (${where.trim()})`}`;
}

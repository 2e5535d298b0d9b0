/** Marks a place of an example that may also hold null. */
export interface OrNull {
  readonly orNull: unknown;
}

/** A place of an example that holds null or something made like `value`. */
export function orNull(value: unknown): OrNull {
  return { orNull: value };
}

/**
 * Compares how a value is made with an example: the same keys (more are allowed), the same kinds of
 * values; a list is compared with the example's first entry.
 *
 * @returns the first difference in words, or null where there is none.
 */
export function difference(example: unknown, value: unknown, path: string = ""): string | null {
  const name = path === "" ? "it" : path;
  if (isRecord(example) && "orNull" in example) {
    return value === null ? null : difference(example["orNull"], value, path);
  }
  if (Array.isArray(example)) {
    if (!Array.isArray(value)) return `${name} is not a list`;
    return first(value.map((entry, index) => difference(example[0], entry, `${path}[${index}]`)));
  }
  if (isRecord(example)) {
    if (!isRecord(value)) return `${name} is not an object`;
    const inner = (key: string): string => (path === "" ? key : `${path}.${key}`);
    return first(
      Object.entries(example).map(([key, entry]) => difference(entry, value[key], inner(key))),
    );
  }
  if (value === undefined) return `${name} is missing`;
  if (typeof value !== typeof example) return `${name} is not a ${typeof example}`;
  return null;
}

/** Whether a value is an object with keys. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function first(problems: readonly (string | null)[]): string | null {
  return problems.find((problem) => problem !== null) ?? null;
}

/** A value of a configuration as an error's text shows it: as JSON, integers of any size among it. */
export function show(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  const text = JSON.stringify(value, (_, inside: unknown) =>
    typeof inside === "bigint" ? String(inside) : inside,
  ) as string | undefined;
  return text ?? "absent";
}

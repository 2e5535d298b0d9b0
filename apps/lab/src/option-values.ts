import { ConfigError } from "@moiety/core";

/** Reads a whole number within bounds, written in digits. */
export function integerBetween(flag: string, low: number, high: number): (value: string) => number {
  return (value) => {
    const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN;
    if (number >= low && number <= high) return number;
    throw new ConfigError(
      `${flag} ${shown(value)} is not a whole number from ${low} to ${high}: give one that is`,
      flag,
      value,
    );
  };
}

/** Reads a positive number, such as 3 or 0.5. */
export function positiveNumber(flag: string): (value: string) => number {
  return (value) => {
    const number = /^\+?(\d+\.?\d*|\.\d+)$/.test(value) ? Number(value) : Number.NaN;
    if (number > 0 && Number.isFinite(number)) return number;
    throw new ConfigError(
      `${flag} ${shown(value)} is not a number above 0: give one such as 3 or 0.5`,
      flag,
      value,
    );
  };
}

/** Reads one of the keys of a table. */
export function oneOf<Name extends string>(
  flag: string,
  table: Readonly<Record<Name, unknown>>,
): (value: string) => Name {
  const names = Object.keys(table);
  const known = (value: string): value is Name => names.includes(value);
  return (value) => {
    if (known(value)) return value;
    const choices = names.length === 1 ? `there is ${names[0]}` : `there are ${names.join(", ")}`;
    throw new ConfigError(
      `${flag} ${shown(value)} is unknown: ${choices}; give one of these`,
      flag,
      value,
    );
  };
}

function shown(value: string): string {
  return value === "" ? '""' : value;
}

import { parseArgs } from "node:util";

/** Options of a program: those with a value, and those without. */
export interface OptionNames {
  readonly values: readonly string[];
  readonly switches?: readonly string[] | undefined;
}

/** The options that were given. */
export interface Options {
  text(name: string): string | undefined;
  has(name: string): boolean;
  /** Whole numbers from 1, with commas between. */
  numbers(name: string, otherwise: readonly number[]): readonly number[];
  number(name: string, otherwise: number): number;
}

/** Reads the command line. @throws Error in one line for what is unknown or no number */
export function readOptions({ values, switches = [] }: OptionNames): Options {
  const known: Record<string, { readonly type: "string" | "boolean" }> = Object.fromEntries([
    ...values.map((name) => [name, { type: "string" }] as const),
    ...switches.map((name) => [name, { type: "boolean" }] as const),
  ]);
  const given: Readonly<Record<string, unknown>> = parseArgs({ options: known }).values;
  const text = (name: string): string | undefined => {
    const value = given[name];
    return typeof value === "string" ? value : undefined;
  };
  const numbers = (name: string, otherwise: readonly number[]): readonly number[] => {
    const found = text(name)?.split(",").map(Number) ?? otherwise;
    if (found.every((value) => Number.isSafeInteger(value) && value > 0)) return found;
    throw new Error(`--${name} takes whole numbers from 1, not "${text(name)}"`);
  };
  return {
    text,
    has: (name) => given[name] === true,
    numbers,
    number(name, otherwise) {
      const [value = otherwise, ...rest] = numbers(name, [otherwise]);
      if (rest.length === 0) return value;
      throw new Error(`--${name} takes one number, not "${text(name)}"`);
    },
  };
}

/** Options that name the layer's sizes. */
export const sizeOptions = ["hidden", "intermediate", "experts", "top-k"] as const;

/** Runs a program; what it throws becomes one line and exit code 1. */
export async function runProgram(program: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await program();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

/** One line of the program's result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One line of what it is doing. */
export function report(line: string): void {
  process.stderr.write(`${line}\n`);
}

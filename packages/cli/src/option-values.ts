import { InvalidArgumentError } from "commander";

/** Reads a whole number from `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };
}

/** Reads a finite number from `least` to `most`. */
export function realNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value) && value >= least && value <= most) {
      return value;
    }
    const range = Number.isFinite(most) ? `from ${least} to ${most}` : `from ${least}`;
    throw new InvalidArgumentError(`It must be a number ${range}.`);
  };
}

/** Reads token ids, separated by commas or spaces. */
export function tokenIds(text: string): number[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  if (words.length > 0 && words.every((word) => /^\d+$/.test(word))) return words.map(Number);
  throw new InvalidArgumentError("It must be whole numbers, separated by commas.");
}

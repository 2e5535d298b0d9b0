import { InvalidArgumentError } from "commander";

/** Reads a whole number from `least` to `most`. */
export function wholeNumber(
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    const range = most < Number.MAX_SAFE_INTEGER ? `from ${least} to ${most}` : `from ${least}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** Reads a number above 0, written in digits, such as 3 or 0.5. */
export function positiveNumber(text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It must be a number above 0, such as 3 or 0.5.");
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

const STEP = 1000;
const DIGITS = 3;

/** A count in a few digits: `6.92 billion`. */
export function countText(count: number): string {
  return scaled(count, ["", " thousand", " million", " billion", " trillion"]);
}

/** Bytes in decimal units, as disks and files are sold: `13.8 GB`. */
export function bytesText(bytes: number): string {
  return scaled(bytes, [" B", " kB", " MB", " GB", " TB"]);
}

/** Floating-point operations: `2.36 GFLOP`. */
export function flopsText(flops: number): string {
  return scaled(flops, [" FLOP", " kFLOP", " MFLOP", " GFLOP", " TFLOP"]);
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  // From 999.5 on three digits would round up to a thousand of the unit.
  while (rest >= STEP - 0.5 && unit < units.length - 1) {
    rest /= STEP;
    unit += 1;
  }
  const text = Number.isInteger(rest) && unit === 0 ? `${rest}` : rest.toPrecision(DIGITS);
  return `${Number(text)}${units[unit] ?? ""}`;
}

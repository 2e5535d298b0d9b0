/** A figure in bits for each byte: `3.489`. */
export function bits(value: number): string {
  return value.toFixed(3);
}

/** A difference in bits for each byte, always with its sign: `-0.171`. */
export function signedBits(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? "+inf" : "-inf";
  const text = Math.abs(value).toFixed(3);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "-" : "+"}${text}`;
}

/** A size in words of three digits: `1.91 M`, `614 k`, `96`. */
export function size(value: number): string {
  const units: readonly (readonly [number, string])[] = [
    [1e12, " T"],
    [1e9, " G"],
    [1e6, " M"],
    [1e3, " k"],
  ];
  for (const [unit, name] of units) {
    // What rounds up to the unit is written in it: 999 950 is 1.00 M.
    if (value >= unit * 0.9995) return `${threeDigits(value / unit)}${name}`;
  }
  return Number.isInteger(value) ? String(value) : threeDigits(value);
}

/** A share: `12.5 %`, `3 %`, `<0.1 %`. */
export function percent(share: number): string {
  const value = share * 100;
  if (value === 0 || value >= 9.95) return `${Math.round(value)} %`;
  if (value < 0.05) return "<0.1 %";
  return `${value.toFixed(1)} %`;
}

/** A multiple of something: `3.1x`. */
export function times(value: number): string {
  return `${value >= 9.95 ? Math.round(value) : value.toFixed(value < 0.095 ? 2 : 1)}x`;
}

/** A span of time: `1:23` or `2:01:23`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}

function threeDigits(value: number): string {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

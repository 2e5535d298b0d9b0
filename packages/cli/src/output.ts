/** Where a command writes. */
export interface Output {
  /** A line of the result. */
  line(text: string): void;
  /** A part of a line, shown at once. */
  write(text: string): void;
  /** The program's exit code, once it is known. */
  exit(code: number): void;
}

/** The terminal. */
export function terminal(): Output {
  return {
    line: (text) => void process.stdout.write(`${text}\n`),
    write: (text) => void process.stdout.write(text),
    exit: (code) => void (process.exitCode = code),
  };
}

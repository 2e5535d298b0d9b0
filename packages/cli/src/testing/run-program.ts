import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { Output } from "../output.ts";
import { program } from "../program.ts";
import type { Surroundings } from "../surroundings.ts";

/** What a command line left. */
export interface Ran {
  /** What it wrote, parts and lines together. */
  readonly text: string;
  /** What it said of itself: progress, the backend. */
  readonly status: string;
  readonly code: number;
}

/** What a test may put in the place of the terminal and its process. */
export interface TestTerminal {
  readonly isTTY?: boolean;
  /** Is given each part of the output, and a way to interrupt. */
  readonly onWrite?: (part: string, interrupt: () => void) => void;
  /** Interrupts once what is said of a run matches. */
  readonly interruptAt?: RegExp;
  readonly workingFolder?: string;
  readonly calledAs?: string;
  /** Takes programs that a command runs, and gives their exit codes. */
  readonly runNode?: Surroundings["runNode"];
}

/** Runs the program as from a command line. */
export function runProgram(...words: string[]): Promise<Ran> {
  return runOn({}, ...words);
}

/** Runs the program as from a command line, on a terminal. */
export async function runOn(terminal: TestTerminal, ...words: string[]): Promise<Ran> {
  let [text, status, code] = ["", "", 0];
  const listeners = new Set<() => void>();
  const interrupt = (): void => listeners.forEach((listener) => listener());
  const write = (part: string): void => {
    text += part;
    terminal.onWrite?.(part, interrupt);
  };
  const output: Output = {
    line: (line) => write(`${line}\n`),
    write,
    exit: (given) => void (code = given),
  };
  const surroundings: Surroundings = {
    status: {
      isTTY: terminal.isTTY,
      write: (part) => {
        status += part;
        if (terminal.interruptAt?.test(part)) interrupt();
      },
    },
    interrupts: {
      on: (_, listener) => listeners.add(listener),
      off: (_, listener) => listeners.delete(listener),
    },
    quit: (given) => void (code = given),
    now: () => performance.now(),
    date: () => new Date(2026, 10, 22, 9, 5, 7),
    workingFolder: terminal.workingFolder ?? tmpdir(),
    calledAs: terminal.calledAs,
    runNode: terminal.runNode ?? (() => Promise.reject(new Error("no program is to be run"))),
  };
  const command = await program(words, output, surroundings);
  for (const each of [command, ...command.commands]) {
    each.exitOverride().configureOutput({ writeErr: () => {}, writeOut: write });
  }
  await command.parseAsync(["node", "moiety", ...words]);
  expect([...listeners]).toEqual([]);
  return { text, status, code };
}

/** Runs something in a folder of its own, which is removed afterwards. */
export async function withFolder<Value>(work: (folder: string) => Promise<Value>): Promise<Value> {
  const folder = await mkdtemp(join(tmpdir(), "moiety-cli-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

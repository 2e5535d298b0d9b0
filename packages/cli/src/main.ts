#!/usr/bin/env node
import { MoietyError } from "@moiety/core";
import { terminal } from "./output.ts";
import { program } from "./program.ts";

try {
  await program(terminal()).parseAsync();
} catch (error) {
  // Ours say what, where and what to do; anything else is a fault of the program.
  const text = error instanceof MoietyError ? error.message : error;
  console.error(text);
  process.exitCode = 1;
}

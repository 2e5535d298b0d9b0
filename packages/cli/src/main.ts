#!/usr/bin/env node
import { MoietyError } from "@moiety/core";
import { terminal } from "./output.ts";
import { program } from "./program.ts";

// Who reads may have had enough (`| head`).
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

try {
  const command = await program(process.argv.slice(2), terminal());
  await command.parseAsync();
} catch (error) {
  // Ours say what, where and what to do; anything else is a fault of the program.
  const isOurs = error instanceof MoietyError;
  console.error(isOurs ? `error: ${error.message.replace(/\s*\n\s*/g, " ")}` : error);
  process.exitCode = 1;
}

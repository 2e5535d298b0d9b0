import { openBackend } from "moiety/open-backend";
import { runCommand } from "./command.ts";
import type { Experiment } from "./experiment-context.ts";
import { abortOnInterrupt } from "./interrupts.ts";

/** Runs this process's command line with an experiment, and sets the exit code. */
export async function runProgram(experiment: Experiment): Promise<void> {
  const now = (): number => performance.now();
  const signal = abortOnInterrupt(process, now, () => process.exit(130));
  try {
    process.exitCode = await runCommand(
      process.argv.slice(2),
      {
        output: process.stdout,
        progress: process.stderr,
        signal,
        now,
        date: () => new Date(),
        workingFolder: process.cwd(),
        open: openBackend,
      },
      experiment,
    );
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}

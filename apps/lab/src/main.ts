import { runExperiment } from "./experiment.ts";
import { runProgram } from "./program.ts";

await runProgram(runExperiment);

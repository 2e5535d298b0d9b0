// Throws damaged input at a part of the library until it has seen enough: `npm run fuzz -- checkpoints`.
import { parseArgs } from "node:util";
import createCpu from "@moiety/backend-cpu";
import { runCase } from "./checkpoints/run-case.js";
import { sampleFolders } from "./checkpoints/samples.js";

const RUNS = 100_000;
const TOLD_EVERY = 10_000;
const USAGE = `usage: npm run fuzz -- checkpoints [--runs N (${RUNS})] [--seed S (1)]`;

process.exitCode = await main(process.argv.slice(2));

/** @param {string[]} given */
async function main(given) {
  const options = read(given);
  if (options === undefined) {
    console.error(USAGE);
    return 1;
  }
  const { runs, seed: first } = options;
  const backend = await createCpu();
  const samples = await sampleFolders();
  /** @type {Map<string, number>} */
  const outcomes = new Map();
  for (let run = 0; run < runs; run++) {
    const seed = first + run;
    try {
      const outcome = await runCase(samples, seed, backend);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (error) {
      console.error(`seed ${seed}:`, error);
      console.error(`again: npm run fuzz -- checkpoints --runs 1 --seed ${seed}`);
      return 1;
    }
    if ((run + 1) % TOLD_EVERY === 0) console.log(`${run + 1} of ${runs}`);
  }
  await backend.dispose();
  const counts = [...outcomes].sort(([, a], [, b]) => b - a);
  for (const [outcome, count] of counts) console.log(`${String(count).padStart(8)}  ${outcome}`);
  console.log(`${runs} damaged checkpoints: each was refused by name, or read as it is`);
  return 0;
}

/** @param {string[]} given */
function read(given) {
  try {
    const { values, positionals } = parseArgs({
      args: given,
      allowPositionals: true,
      options: { runs: { type: "string" }, seed: { type: "string" } },
    });
    const [runs, seed] = [Number(values.runs ?? RUNS), Number(values.seed ?? 1)];
    const isRight = Number.isSafeInteger(runs) && runs > 0 && Number.isSafeInteger(seed);
    return isRight && positionals.join() === "checkpoints" ? { runs, seed } : undefined;
  } catch {
    return undefined;
  }
}

import { iota } from "@moiety/core";
import create from "../../index.ts";
import { probe } from "../../probe.ts";

// Prints what the engine can do, computes with two threads, and ends by itself: nothing is disposed.
async function main(): Promise<void> {
  const threads = Number(process.argv[2] ?? 2);
  const features = probe();
  try {
    const backend = await create({ threads });
    const values = await iota(backend, { shape: [100_000], axis: 0, dtype: "u32" }).read();
    const right = values.every((value, index) => value === index);
    report({ features, right, details: backend.capabilities.details });
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string };
    report({ features, code, message });
  }
}

function report(found: object): void {
  process.stdout.write(JSON.stringify(found));
}

await main();

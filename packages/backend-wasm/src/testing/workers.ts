import { vi } from "vitest";
import type { NodeThreads, NodeWorker } from "../platform.ts";

/** The workers that are started from here on, until mocks are restored. */
export function watchWorkers(): readonly NodeWorker[] {
  const workers: NodeWorker[] = [];
  replaceWorker(
    (real) =>
      class extends real {
        constructor(...args: ConstructorParameters<typeof real>) {
          super(...args);
          workers.push(this);
        }
      },
  );
  return workers;
}

/** Replaces the class of Node's workers until mocks are restored. */
export function replaceWorker(
  replacement: (real: NodeThreads["Worker"]) => NodeThreads["Worker"],
): void {
  const host = process as unknown as { getBuiltinModule(name: string): object | undefined };
  const real = host.getBuiltinModule.bind(process);
  vi.spyOn(host, "getBuiltinModule").mockImplementation((name) => {
    const module = real(name);
    if (name !== "node:worker_threads") return module;
    return { ...module, Worker: replacement((module as NodeThreads).Worker) };
  });
}

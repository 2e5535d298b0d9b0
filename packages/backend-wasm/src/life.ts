import { UnsupportedError } from "@moiety/core";
import type { KernelHost } from "./kernel.ts";
import { ROUTINES } from "./kernels.ts";
import { CONTROL, type Library, type LibraryExports, buildLibrary } from "./library.ts";
import { Memory } from "./memory.ts";
import type { Settings } from "./options.ts";
import { type Routine, writeArguments } from "./routine.ts";
import { type Instance, Team } from "./team.ts";

/** A memory, the library compiled for it, and the threads that work in it. */
export interface Life {
  readonly memory: Memory;
  readonly team: Team;
  /** Both, as kernels use them. */
  readonly host: KernelHost;
}

/**
 * Makes a memory, compiles the library and starts threads. `number` counts lives.
 * Rejects with {@link UnsupportedError} or `OutOfMemoryError`.
 */
export async function startLife(
  settings: Settings,
  number: number,
  routines: readonly Routine[] = ROUTINES,
): Promise<Life> {
  const shared = settings.threads > 1;
  const memory = new Memory(number, shared, settings.memoryLimit);
  const library = buildLibrary(routines, { ...Memory.pages, shared }, settings);
  const instance = await instantiate(library.bytes, memory.memory);
  const team = await Team.start(instance, settings.threads, settings.patience);
  return { memory, team, host: hostOf(settings, memory, team, library) };
}

function hostOf(settings: Settings, memory: Memory, team: Team, { places }: Library): KernelHost {
  return {
    instructions: settings,
    threads: settings.threads,
    get view() {
      team.settle();
      return memory.view;
    },
    get ownView() {
      return memory.view;
    },
    settle: () => team.settle(),
    allocate: (bytes) => memory.allocate(bytes),
    free: (buffer) => memory.free(buffer),
    scratch: (bytes) => memory.scratch(bytes),
    forget: (buffer) => memory.forget(buffer),
    derive: (buffer, name, bytes, fill) => memory.derive(buffer, name, bytes, fill),
    launch(routine, args, tasks) {
      const place = places.get(routine);
      if (place === undefined) throw new TypeError(`${routine.name} is not in the library`);
      team.settle();
      memory.hold();
      writeArguments(memory.view, CONTROL.args, routine.parameters, args);
      team.run(place, tasks, routine.name);
    },
  };
}

async function instantiate(
  bytes: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): Promise<Instance> {
  try {
    const module = await WebAssembly.compile(bytes);
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    return { module, memory, exports: exports as unknown as LibraryExports };
  } catch (cause) {
    throw new UnsupportedError(`this engine refuses the kernels: ${cause}`, "webassembly", {
      cause,
    });
  }
}

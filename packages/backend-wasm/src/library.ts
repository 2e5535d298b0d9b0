import type { Body, Callee, Instructions } from "./emit/body.ts";
import { type ImportedMemory, Module } from "./emit/module.ts";
import { I32 } from "./emit/scalars.ts";
import { ARGUMENT_BYTES, type Routine, readArguments } from "./routine.ts";

/**
 * Words of the control block, at the beginning of memory, through which the threads of a team work on
 * one job. Words that different threads write often lie on lines of their own.
 */
export const CONTROL = {
  /** Rises with each job; workers sleep on it. */
  generation: 64,
  /** Place of the routine in the table. */
  place: 68,
  /** Number of tasks. */
  tasks: 72,
  /** Workers that sleep, or are about to. */
  sleepers: 128,
  /** The next task to be taken. */
  next: 192,
  /** Workers that entered the job; negative once it is closed, and then of no meaning. */
  entered: 256,
  /** Workers that have left the job; the caller sleeps on it. */
  left: 320,
  /** Not 0: the caller sleeps, or is about to. */
  waiting: 384,
  /** Not 0: a worker failed. */
  failed: 388,
  /** The arguments of the job. */
  args: 448,
} as const;

/** Bytes at the beginning of memory that are not for tensors. */
export const CONTROL_BYTES = 1024;

/** The sign of the word `entered`. */
const CLOSED = 0x8000_0000;
/** Looks for a next job before a worker goes to sleep: about a millisecond. */
const SPINS = 200_000;
/** Looks at the workers that have not left, in one call: some tens of microseconds. */
const LOOKS = 20_000;

/** What an instance of the library exports; all but `alone` where memory is shared. */
export interface LibraryExports {
  /** Runs all tasks of a routine in this thread. */
  alone(place: number, tasks: number): void;
  /**
   * Opens a job: the workers that come run the tasks of a routine, and this thread goes on. 0 if it is
   * done already: one task is not worth waking a worker for. Each other job is ended by {@link end}
   * before the next begins.
   */
  begin(place: number, tasks: number): number;
  /**
   * Runs the tasks of the job that nobody has taken, and closes it. Gives the number of workers for
   * which {@link gathered} has to be asked: 0 if all have left.
   */
  end(): number;
  /** Waits a while until as many workers as given have left; 1 if they have. */
  gathered(workers: number): number;
  /** The life of a worker: works on each job. */
  serve(): void;
}

/** The routines as one module. */
export interface Library {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where each routine is in the table. */
  readonly places: ReadonlyMap<Routine, number>;
}

const TWO = ["i32", "i32"] as const;
const EXPORTED = { exported: true };

/** Builds the module of all routines and of the functions that run them. */
export function buildLibrary(
  routines: readonly Routine[],
  memory: ImportedMemory,
  instructions: Instructions,
): Library {
  const module = new Module(memory, instructions);
  const places = new Map<Routine, number>();
  for (const routine of routines) {
    const { name, parameters } = routine;
    const most = (CONTROL_BYTES - CONTROL.args) / ARGUMENT_BYTES;
    if (Object.keys(parameters).length > most) {
      throw new TypeError(`${name} has more than ${most} parameters`);
    }
    const callee = module.function(name, { parameters: TWO }, (body) => {
      const args = readArguments(body, parameters, body.parameter(I32, 0));
      routine.write(body, args, body.parameter(I32, 1));
    });
    places.set(routine, module.enter(callee));
  }
  const type = module.typeOf({ parameters: TWO });
  const run: RunTask = (body, place, task) =>
    body.callTable(type, place, [I32.const(CONTROL.args), task]);
  module.function(
    "alone",
    { parameters: TWO },
    (body) => {
      const place = body.parameter(I32, 0);
      body.for(0, body.parameter(I32, 1), 1, (task) => run(body, place, task));
    },
    EXPORTED,
  );
  if (memory.shared) addTeamwork(module, run);
  return { bytes: module.bytes(), places };
}

type RunTask = (body: Body, place: I32, task: I32) => void;

/**
 * How a team works: the caller writes the job, opens it, prepares the next meanwhile, and then takes
 * tasks like everybody else. When none are left it closes the job and waits for those who entered. A worker that comes late finds the
 * job closed and waits for the next, so nobody waits for a worker that still sleeps. One that enters
 * the next job instead of the one that it was woken for does no harm: it reads what to do only then.
 */
function addTeamwork(module: Module, run: RunTask): void {
  const share = module.function("share", { parameters: TWO }, (body) => {
    const place = body.parameter(I32, 0);
    const tasks = body.parameter(I32, 1);
    const task = body.int(0);
    const take = (): I32 => {
      body.set(task, body.atomicAdd(CONTROL.next, 1));
      return task.ltU(tasks);
    };
    body.while(take, () => run(body, place, task));
  });
  const gathered = module.function(
    "gathered",
    { parameters: ["i32"], result: "i32" },
    (body) => {
      const workers = body.parameter(I32, 0);
      body.for(0, LOOKS, 1, () => {
        const left = body.atomicLoad(CONTROL.left);
        body.if(left.geU(workers), () => body.returnValue(I32.const(1)));
      });
      body.returnValue(I32.const(0));
    },
    EXPORTED,
  );
  module.function(
    "begin",
    { parameters: TWO, result: "i32" },
    (body) => writeBegin(body, run),
    EXPORTED,
  );
  module.function(
    "end",
    { parameters: [], result: "i32" },
    (body) => writeEnd(body, share, gathered),
    EXPORTED,
  );
  module.function("serve", { parameters: [] }, (body) => writeServe(body, share), EXPORTED);
}

function writeBegin(body: Body, run: RunTask): void {
  const place = body.parameter(I32, 0);
  const tasks = body.parameter(I32, 1);
  const alone = tasks.eq(1).and(body.atomicLoad(CONTROL.sleepers).ne(0));
  body.if(alone, () => {
    run(body, place, I32.const(0));
    body.returnValue(I32.const(0));
  });
  body.store(CONTROL.place, place);
  body.store(CONTROL.tasks, tasks);
  body.atomicStore(CONTROL.next, 0);
  body.atomicStore(CONTROL.left, 0);
  // From here on workers may come.
  body.atomicStore(CONTROL.entered, 0);
  body.drop(body.atomicAdd(CONTROL.generation, 1));
  // Whoever is not counted yet will see the new generation and not sleep.
  body.if(body.atomicLoad(CONTROL.sleepers), () => {
    body.drop(body.atomicNotify(CONTROL.generation, tasks.sub(1)));
  });
  body.returnValue(I32.const(1));
}

function writeEnd(body: Body, share: Callee, gathered: Callee): void {
  body.call(share, [I32.load(CONTROL.place), I32.load(CONTROL.tasks)]);
  const entered = body.let(body.atomicOr(CONTROL.entered, CLOSED));
  body.if(body.callFor(I32, gathered, [entered]), () => body.returnValue(I32.const(0)));
  body.returnValue(entered);
}

function writeServe(body: Body, share: Callee): void {
  const seen = body.int(0);
  const found = body.int(0);
  const spins = body.int(0);
  const idle = (): I32 => {
    body.set(found, body.atomicLoad(CONTROL.generation));
    return found.eq(seen);
  };
  body.repeat(() => {
    body.set(spins, I32.const(0));
    body.while(idle, () => {
      body.increment(spins, 1);
      body.if(spins.gtU(SPINS), () => {
        body.drop(body.atomicAdd(CONTROL.sleepers, 1));
        body.drop(body.atomicWait(CONTROL.generation, seen));
        body.drop(body.atomicAdd(CONTROL.sleepers, -1));
      });
    });
    body.set(seen, found);
    body.if(body.atomicAdd(CONTROL.entered, 1).ge(0), () => {
      body.call(share, [I32.load(CONTROL.place), I32.load(CONTROL.tasks)]);
      body.drop(body.atomicAdd(CONTROL.left, 1));
      body.if(body.atomicLoad(CONTROL.waiting), () => {
        body.drop(body.atomicNotify(CONTROL.left, 1));
      });
    });
    return I32.const(1);
  });
}

import { DeviceLostError, UnsupportedError } from "@moiety/core";
import { CONTROL, CONTROL_BYTES, type LibraryExports } from "./library.ts";
import { now, within } from "./platform.ts";
import { type Helper, startHelper } from "./worker.ts";

/** The library in this thread, and what others need to have it too. */
export interface Instance {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly exports: LibraryExports;
}

/** Milliseconds of one wait. A longer pause, such as a machine that was suspended, counts no more. */
const SLICE = 100;

/** Runs the tasks of routines in this thread and, with helpers, in others beside it. */
export class Team {
  readonly #exports: LibraryExports;
  /** The control block; where memory is shared it stays valid when memory grows. */
  readonly #words: Int32Array;
  readonly #patience: number;
  readonly #sleeps: boolean;
  readonly #helpers: Helper[] = [];
  /** Name of the routine of the job that is open. */
  #open: string | undefined;
  #lost: DeviceLostError | undefined;

  private constructor(memory: WebAssembly.Memory, exports: LibraryExports, patience: number) {
    this.#words = new Int32Array(memory.buffer, 0, CONTROL_BYTES / 4);
    this.#exports = exports;
    this.#patience = patience;
    this.#sleeps = maySleep(this.#words);
  }

  /**
   * Starts `threads − 1` workers and waits until they are there. `patience`: milliseconds without
   * progress after which a team is given up. Rejects with {@link UnsupportedError}.
   */
  static async start(
    { module, memory, exports }: Instance,
    threads: number,
    patience: number,
  ): Promise<Team> {
    const team = new Team(memory, exports, patience);
    try {
      while (team.threads < threads) {
        team.#helpers.push(startHelper({ module, memory }, (reason) => team.lose(reason)));
      }
      await within(patience, Promise.all(team.#helpers.map(({ ready }) => ready)));
    } catch (cause) {
      await team.stop();
      throw new UnsupportedError(
        `worker threads cannot start here (${cause}); use create({ threads: 1 })`,
        "threads",
        { cause },
      );
    }
    return team;
  }

  /** Threads that work, this one included. */
  get threads(): number {
    return this.#helpers.length + 1;
  }

  /** Throws {@link DeviceLostError} once the team is lost. */
  assertWell(): void {
    if (this.#lost) throw this.#lost;
  }

  /**
   * Runs the routine at `place` of the table, whose arguments are in memory, for each task; `name`
   * tells which it is. With helpers it has only begun when this returns, so that the next can be
   * prepared meanwhile: {@link settle} before each, and before memory is read or written. Throws
   * {@link DeviceLostError} where it fails: then the team is lost.
   */
  run(place: number, tasks: number, name: string): void {
    this.assertWell();
    this.#guard(name, () => {
      if (this.#helpers.length === 0) this.#exports.alone(place, tasks);
      else if (this.#exports.begin(place, tasks) !== 0) this.#open = name;
    });
  }

  /** Returns when all that was run is done. Throws as {@link run} does. */
  settle(): void {
    const name = this.#open;
    if (name === undefined) return;
    this.#open = undefined;
    this.assertWell();
    this.#guard(name, () => {
      const workers = this.#exports.end();
      if (workers > 0) this.#gather(workers);
      if (Atomics.load(this.#words, CONTROL.failed / 4) !== 0) {
        throw new Error("a kernel failed in a worker");
      }
    });
  }

  /** Ends the workers. Nothing runs here any more. */
  async stop(): Promise<void> {
    this.#lost ??= new DeviceLostError("the backend was disposed");
    await Promise.all(this.#helpers.splice(0).map((helper) => helper.terminate()));
  }

  /** Gives the team up: from here on every call throws. */
  lose(reason: string, cause?: unknown): void {
    if (this.#lost) return;
    this.#lost = new DeviceLostError(
      `the threads of the wasm backend are lost (${reason}); recover() starts new ones`,
      { cause },
    );
    void this.stop();
  }

  /** Loses the team where it fails. */
  #guard(name: string, work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.lose(`${name}: ${cause}`, cause);
      this.assertWell();
    }
  }

  /** Waits until all that entered have left. Throws where one does not come back. */
  #gather(workers: number): void {
    let waited = 0;
    let left = -1;
    let before = now();
    while (this.#exports.gathered(workers) === 0) {
      const found = Atomics.load(this.#words, CONTROL.left / 4);
      if (this.#sleeps && found < workers) this.#sleep(found);
      const time = now();
      waited = found === left ? waited + Math.min(time - before, SLICE) : 0;
      [left, before] = [found, time];
      if (waited > this.#patience) {
        throw new Error(`a worker did not come back within ${this.#patience} ms`);
      }
    }
  }

  /** Sleeps until another worker has left, but not long. */
  #sleep(left: number): void {
    Atomics.store(this.#words, CONTROL.waiting / 4, 1);
    Atomics.wait(this.#words, CONTROL.left / 4, left, SLICE);
    Atomics.store(this.#words, CONTROL.waiting / 4, 0);
  }
}

/** Whether this thread may sleep: the main thread of a browser may not, and other memory is not shared. */
function maySleep(words: Int32Array): boolean {
  try {
    return Atomics.wait(words, CONTROL.left / 4, 0, 0) === "timed-out";
  } catch {
    return false;
  }
}

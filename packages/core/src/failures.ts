import type { LateFailure } from "./contract.ts";
import type { MoietyError } from "./errors.ts";
import type { Storage } from "./storage.ts";

interface LoggedCall {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/**
 * Which calls are under way on a driver that may fail late, so that a failure reaches everything
 * computed from it, also through tensors that are freed by then.
 */
export class FailureLog {
  #calls: LoggedCall[] = [];
  #started = 0;
  #first: MoietyError | undefined;
  /** Handles of freed storages that calls under way may still name. */
  readonly #ids = new Map<unknown, number>();

  /** Notes a call. */
  note(inputs: readonly Storage[], outputs: readonly Storage[]): void {
    this.#calls.push({ inputs: inputs.map((s) => s.id), outputs: outputs.map((s) => s.id) });
    for (const storage of outputs) this.#ids.set(storage.handle, storage.id);
  }

  /** Poisons what the failed call should have written and everything that depends on it. */
  report(failure: LateFailure<unknown>, live: ReadonlySet<Storage>): void {
    this.#first ??= failure.error;
    const poisoned = new Set<number>();
    for (const handle of failure.handles) {
      const id = this.#ids.get(handle);
      if (id !== undefined) poisoned.add(id);
    }
    for (const call of this.#calls) {
      if (call.inputs.some((id) => poisoned.has(id)))
        call.outputs.forEach((id) => poisoned.add(id));
    }
    const wholeDevice = failure.handles.length === 0;
    for (const storage of live) {
      if (wholeDevice || poisoned.has(storage.id)) storage.poison ??= failure.error;
    }
  }

  /** Forgets everything: the device is a new one. */
  clear(): void {
    this.#started += this.#calls.length;
    this.#calls = [];
    this.#ids.clear();
    this.#first = undefined;
  }

  /** A point in the log: the calls before it are done once a later wait resolves. */
  mark(): number {
    return this.#started + this.#calls.length;
  }

  /** Drops the calls before the mark. */
  forget(mark: number | undefined): void {
    if (mark === undefined) return;
    const done = Math.max(0, mark - this.#started);
    this.#calls = this.#calls.slice(done);
    this.#started += done;
    if (this.#calls.length === 0) this.#ids.clear();
  }

  /** Ends a sync: drops the finished calls and throws the first failure since the last one. */
  settle(mark: number | undefined): void {
    this.forget(mark);
    const first = this.#first;
    this.#first = undefined;
    if (first) throw first;
  }
}

import type { TensorSpec } from "./contract.ts";
import type { MoietyError } from "./errors.ts";

/** One driver handle with its reference count. */
export class Storage {
  readonly id: number;
  readonly handle: unknown;
  readonly spec: TensorSpec;
  /** Why its content is worthless, once a late failure reached it. */
  poison: MoietyError | undefined = undefined;
  #references = 0;
  #surrendered = false;
  readonly #free: (storage: Storage) => void;

  constructor(id: number, handle: unknown, spec: TensorSpec, free: (storage: Storage) => void) {
    this.id = id;
    this.handle = handle;
    this.spec = spec;
    this.#free = free;
  }

  get references(): number {
    return this.#references;
  }

  /** Whether an output took the handle over. */
  get surrendered(): boolean {
    return this.#surrendered;
  }

  retain(): void {
    this.#references++;
  }

  release(): void {
    this.#references--;
    if (this.#references === 0) this.#free(this);
  }

  /** Leaves the handle to an output that was written into it. */
  surrender(): void {
    this.#surrendered = true;
  }
}

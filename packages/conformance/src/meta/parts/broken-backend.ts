import type { CpuBuffer } from "@moiety/backend-cpu";
import { type Backend, type Driver, defineBackend } from "@moiety/core";
import { BaseDriver, type Event } from "./base-driver.ts";
import { BrokenCall } from "./broken-call.ts";

/** A backend with one fault, and the case that must find it. */
export interface BrokenBackend {
  /** Name of its file without the ending. */
  readonly name: string;
  /** What is wrong, in one sentence. */
  readonly fault: string;
  /** Id of the case that names this fault. */
  readonly caughtBy: string;
  /**
   * What must happen in a case for the fault to show: one of these, names of ops that the driver runs
   * among them. A case without any runs as on the unbroken backend. Absent: it may show anywhere.
   */
  readonly shows?: readonly Event[] | undefined;
  /** A new backend with the fault. */
  create(): Promise<Backend>;
}

/** Runs one op wrongly. */
export type FaultyKernel = (call: BrokenCall) => readonly CpuBuffer[];

/** What is broken: kernels by the names of their ops, members of the driver, or the backend. */
export interface Fault extends Omit<BrokenBackend, "create"> {
  /** Faulty kernels; the fault shows where their ops are run. */
  readonly kernels?: Readonly<Record<string, FaultyKernel>> | undefined;
  /** The same for kernels that remember something between calls; made for each backend. */
  makeKernels?(): Readonly<Record<string, FaultyKernel>>;
  /** Faulty members of the driver. */
  driver?(driver: BaseDriver): Partial<Driver<CpuBuffer>>;
  /** Changes the finished backend. */
  backend?(backend: Backend): Backend;
}

/** Makes a broken backend of its fault. */
export function broken(fault: Fault): BrokenBackend {
  const { name, caughtBy, kernels, shows = kernels && Object.keys(kernels) } = fault;
  return {
    name,
    fault: fault.fault,
    caughtBy,
    shows,
    create: async () => createBroken(fault),
  };
}

/** The backend without a fault. `watch` is told what happens in it. */
export async function createUnbroken(watch?: (event: Event) => void): Promise<Backend> {
  return losable(new BaseDriver(watch), {});
}

/** Takes the device away from a backend that was made here. */
export async function loseDevice(backend: Backend): Promise<void> {
  if (!("lose" in backend) || typeof backend.lose !== "function") {
    throw new TypeError("this backend has no device that can be taken away");
  }
  backend.lose();
}

function createBroken(fault: Fault): Backend {
  const driver = new BaseDriver();
  const kernels = { ...fault.kernels, ...fault.makeKernels?.() };
  const backend = losable(driver, {
    run(call) {
      const kernel = Object.hasOwn(kernels, call.op.name) ? kernels[call.op.name] : undefined;
      return kernel ? kernel(new BrokenCall(call, driver)) : driver.run(call);
    },
    ...fault.driver?.(driver),
  });
  return fault.backend ? fault.backend(backend) : backend;
}

/** A backend over a driver with some members replaced, and with a device to lose. */
function losable(driver: BaseDriver, spoilt: Partial<Driver<CpuBuffer>>): Backend {
  const backend = defineBackend<CpuBuffer>({
    specVersion: 1,
    name: driver.name,
    capabilities: driver.capabilities,
    allocate: (spec) => driver.allocate(spec),
    write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
    read: (handle, offset, length) => driver.read(handle, offset, length),
    free: (handle) => driver.free(handle),
    run: (call) => driver.run(call),
    sync: () => driver.sync(),
    statistics: () => driver.statistics(),
    dispose: () => driver.dispose(),
    recover: () => driver.recover(),
    ...spoilt,
  });
  return Object.assign(backend, { lose: () => driver.lose() });
}

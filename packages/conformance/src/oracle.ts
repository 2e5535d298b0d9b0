import { cpuDriver } from "@moiety/backend-cpu";
import { type Backend, type Driver, type TensorSpec, defineBackend } from "@moiety/core";

/** The oracle with a log of what its kernels wrote. */
export interface Oracle {
  readonly backend: Backend;
  /** Specs of everything that kernels wrote since the last call. */
  takeSpecs(): readonly TensorSpec[];
}

/** The CPU backend, noting what it writes: those sizes are worth dirtying on other backends. */
export function createOracle(): Oracle {
  let specs: TensorSpec[] = [];
  const driver = noting(cpuDriver(), (written) => specs.push(...written));
  return {
    backend: defineBackend(driver),
    takeSpecs() {
      const taken = specs;
      specs = [];
      return taken;
    },
  };
}

function noting<Handle>(
  driver: Driver<Handle>,
  note: (written: readonly TensorSpec[]) => void,
): Driver<Handle> {
  return {
    specVersion: driver.specVersion,
    name: driver.name,
    capabilities: driver.capabilities,
    allocate: (spec) => driver.allocate(spec),
    write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
    read: (handle, offset, length) => driver.read(handle, offset, length),
    free: (handle) => driver.free(handle),
    run(call) {
      note([...call.outputs, ...call.residuals]);
      return driver.run(call);
    },
    sync: () => driver.sync(),
    statistics: () => driver.statistics(),
    dispose: () => driver.dispose(),
  };
}

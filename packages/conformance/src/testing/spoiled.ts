import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import { type Backend, type Driver, defineBackend } from "@moiety/core";

/** A backend over the oracle's driver with some of its members replaced. */
export function spoiled(
  change: (driver: Driver<CpuBuffer>) => Partial<Driver<CpuBuffer>>,
): Backend {
  const driver = cpuDriver();
  const whole: Driver<CpuBuffer> = {
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
  };
  return defineBackend({ ...whole, ...change(whole) });
}

/** A backend whose results of one op have their first byte's lowest bits turned over. */
export function wrongAt(op: string): Backend {
  return spoiled((driver) => ({
    run(call) {
      const handles = driver.run(call);
      const [first] = handles;
      if (call.op.name === op && first && first.byteLength > 0) {
        new Float32Array(first.block)[0] = 77;
      }
      return handles;
    },
  }));
}

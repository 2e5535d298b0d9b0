import { type CpuBuffer, cpuDriver } from "@moiety/backend-cpu";
import { type Backend, DeviceLostError, defineBackend } from "@moiety/core";

/** What may be wrong with a backend that loses its device. */
export interface LosableFault {
  /** Old buffers still read after `recover()`. */
  readonly keepsOld?: boolean;
  /** Ops go on as if nothing had happened. */
  readonly ignoresLoss?: boolean;
}

/** Backends over the oracle whose device can be taken away. */
export interface LosableKind {
  create(): Promise<Backend>;
  lose(backend: Backend): Promise<void>;
}

/** Makes them. */
export function losable({ keepsOld, ignoresLoss }: LosableFault = {}): LosableKind {
  const losers = new WeakMap<Backend, () => void>();
  return {
    async create() {
      const driver = cpuDriver();
      const dead = new Set<CpuBuffer>();
      const live = new Set<CpuBuffer>();
      let lost = false;
      const kept = (handle: CpuBuffer): CpuBuffer => {
        live.add(handle);
        return handle;
      };
      const alive = (): void => {
        if (lost && !ignoresLoss) throw new DeviceLostError("the device was taken away");
      };
      const backend = defineBackend<CpuBuffer>({
        specVersion: 1,
        name: "losable",
        capabilities: { ...driver.capabilities, recovers: true },
        allocate(spec) {
          alive();
          return kept(driver.allocate(spec));
        },
        write(handle, offset, bytes) {
          alive();
          driver.write(handle, offset, bytes);
        },
        async read(handle, offset, length) {
          alive();
          if (dead.has(handle)) throw new DeviceLostError("this buffer was on a lost device");
          return driver.read(handle, offset, length);
        },
        free(handle) {
          live.delete(handle);
          dead.delete(handle);
          driver.free(handle);
        },
        run(call) {
          alive();
          return driver.run(call).map(kept);
        },
        async sync() {
          alive();
        },
        statistics: () => driver.statistics(),
        dispose: () => driver.dispose(),
        async recover() {
          lost = false;
        },
      });
      losers.set(backend, () => {
        lost = true;
        if (!keepsOld) for (const handle of live) dead.add(handle);
      });
      return backend;
    },
    async lose(backend) {
      losers.get(backend)?.();
    },
  };
}

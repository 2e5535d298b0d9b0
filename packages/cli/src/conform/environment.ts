import { arch, cpus, platform, release } from "node:os";

/** Where this process runs, for a report. */
export function environmentFacts(): Record<string, string | number> {
  const [cpu] = cpus();
  return {
    runtime: `node ${process.versions.node}`,
    os: `${platform()} ${release()} ${arch()}`,
    cpu: cpu?.model.trim() ?? "unknown",
    cores: cpus().length,
  };
}

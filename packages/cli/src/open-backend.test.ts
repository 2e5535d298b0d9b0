import createCpu from "@moiety/backend-cpu";
import { type Backend, ConfigError, UnsupportedError } from "@moiety/core";
import { afterEach, describe, expect, it } from "vitest";
import { type Candidate, type OpenedBackend, backendNames, openBackend } from "./open-backend.ts";

const opened: OpenedBackend[] = [];
afterEach(async () => {
  for (const { backend } of opened.splice(0)) await backend.dispose();
});

async function open(...args: Parameters<typeof openBackend>): Promise<OpenedBackend> {
  const found = await openBackend(...args);
  opened.push(found);
  return found;
}

/** A candidate that works; what was made of it is seen in `made`. */
const working = (made: Backend[], more: Partial<Candidate> = {}): Candidate => ({
  async open() {
    const backend = await createCpu();
    made.push(backend);
    return backend;
  },
  worker: () => "steam",
  ...more,
});
const failing = (error: unknown): Candidate => ({
  open: () => Promise.reject(error as Error),
  worker: () => "nothing",
});

describe("a named backend", () => {
  it("is made, and says what does the work", async () => {
    const cpu = await open({ name: "cpu" });
    expect(cpu).toMatchObject({
      name: "cpu",
      worker: expect.stringContaining("cpu, the reference"),
    });
    const wasm = await open({ name: "wasm", threads: 1 });
    expect(wasm.line).toMatch(/^backend wasm, 1 thread, (relaxed )?SIMD$/);
    expect(wasm.backend.name).toBe("wasm");
  });

  it.each([
    [{ name: "gpu" }, /backend gpu is unknown: there is auto, webgpu, wasm, cpu/],
    [{ name: "toString" }, /backend toString is unknown/],
    [{ name: "cpu", threads: 2 }, /--threads 2 is nothing to backend cpu/],
    [{ name: "wasm", threads: 1000 }, /threads is 1000/],
  ])("%j is refused", async (choice, message) => {
    await expect(open(choice)).rejects.toThrow(ConfigError);
    await expect(open(choice)).rejects.toThrow(message);
  });

  it("that does not start is an error", async () => {
    const known = {
      first: failing(new UnsupportedError("no steam", "steam")),
      second: working([]),
    };
    await expect(open({ name: "first" }, known)).rejects.toThrow("no steam");
  });
});

describe("auto", () => {
  it("is a name, and takes the fastest that works", async () => {
    expect(backendNames[0]).toBe("auto");
    const made: Backend[] = [];
    const found = await open({ name: "auto" }, { first: working(made), second: working([]) });
    expect(found).toMatchObject({ name: "first", worker: "first, steam", backend: made[0] });
    expect(found.line).toBe("backend first, steam");
  });

  it("goes on where one is missing, does not start or is not to be taken, and says why", async () => {
    const software: Backend[] = [];
    const known = {
      absent: working([], { missing: () => "no driver" }),
      broken: failing(new UnsupportedError("no adapter\nat all", "adapter")),
      strange: failing("dead"),
      software: working(software, { unfit: () => "it is software" }),
      last: working([]),
    };
    const { name, line } = await open({ name: "auto" }, known);
    expect(name).toBe("last");
    expect(line).toBe(
      "backend last, steam; no absent: no driver; no broken: no adapter; no strange: dead; " +
        "no software: it is software",
    );
    expect(() => software[0]?.tensor([1])).toThrow(/disposed/);
  });

  it("asks for the details of what it opened", async () => {
    const unfit = ({ software }: { readonly software?: unknown }): string | undefined =>
      software === true ? "software" : undefined;
    const { name } = await open({ name: "auto" }, { first: working([], { unfit }) });
    expect(name).toBe("first");
  });

  it("does not hide an option that is wrong", async () => {
    const known = {
      first: failing(new ConfigError("threads is 1000", "threads", 1000)),
      second: working([]),
    };
    await expect(open({ name: "auto", threads: 1000 }, known)).rejects.toThrow("threads is 1000");
  });

  it("says where threads mean nothing", async () => {
    const { line } = await open({ name: "auto", threads: 2 }, { first: working([]) });
    expect(line).toBe("backend first, steam; --threads is nothing to it");
  });

  it("fails where nothing works", async () => {
    const known = { first: failing(new Error("no")), second: failing(new Error("neither")) };
    await expect(open({ name: "auto" }, known)).rejects.toThrow(
      /there is no backend \(no first: no; no second: neither\)/,
    );
  });

  it("never takes a software adapter here, and finds one that works", async () => {
    const { name, backend, line } = await open({ name: "auto" });
    expect(["webgpu", "wasm", "cpu"]).toContain(name);
    expect(backend.capabilities.details?.["software"]).not.toBe(true);
    expect(line).toMatch(/^backend (webgpu|wasm|cpu), [^\n]+$/);
    if (name !== "webgpu") expect(line).toContain("no webgpu: ");
    expect(await backend.tensor([1, 2]).read()).toEqual(Float32Array.of(1, 2));
  });
});

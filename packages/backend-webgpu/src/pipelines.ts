import { type MoietyError, UnsupportedError } from "@moiety/core";

/** How a kernel binds its operands, in order: `r` reads, `w` reads and writes. */
export type Signature = string;

/** A kernel on its way to being compiled, compiled, or refused. */
export interface PipelineEntry {
  readonly key: string;
  readonly signature: Signature;
  readonly code: string;
  pipeline: GPUComputePipeline | undefined;
  /** Unsettled while it is compiled; never rejects. */
  compiling: Promise<void> | undefined;
  error: MoietyError | undefined;
}

const COMPUTE_STAGE = 0x4;

/** Pipelines of one device by name, compiled in the background, each once. */
export class Pipelines {
  readonly #device: GPUDevice;
  /** Compares the code of every use with the one that was compiled under its name. */
  readonly #strict: boolean;
  readonly #entries = new Map<string, PipelineEntry>();
  readonly #layouts = new Map<Signature, GPUBindGroupLayout>();
  readonly #paramsLayout: GPUBindGroupLayout;

  constructor(device: GPUDevice, strict: boolean) {
    this.#device = device;
    this.#strict = strict;
    this.#paramsLayout = device.createBindGroupLayout({
      entries: [
        {
          binding: 0,
          visibility: COMPUTE_STAGE,
          buffer: { type: "uniform", hasDynamicOffset: true },
        },
      ],
    });
  }

  /** Number of kernels compiled or under way. */
  get count(): number {
    return this.#entries.size;
  }

  /** Layout of the group that holds a dispatch's numbers. */
  get paramsLayout(): GPUBindGroupLayout {
    return this.#paramsLayout;
  }

  /** The pipeline of a name; `code` is only asked for where it is new. */
  get(key: string, signature: Signature, code: () => string): PipelineEntry {
    const known = this.#entries.get(key);
    if (known) {
      if (this.#strict && known.code !== code()) {
        throw new UnsupportedError(`two WGSL kernels share the name ${key}`, key);
      }
      return known;
    }
    const entry: PipelineEntry = {
      key,
      signature,
      code: code(),
      pipeline: undefined,
      compiling: undefined,
      error: undefined,
    };
    entry.compiling = this.#compile(entry);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Layout of the group that holds the operands. */
  layout(signature: Signature): GPUBindGroupLayout {
    const known = this.#layouts.get(signature);
    if (known) return known;
    const layout = this.#device.createBindGroupLayout({
      entries: [...signature].map((access, binding) => ({
        binding,
        visibility: COMPUTE_STAGE,
        buffer: { type: access === "r" ? "read-only-storage" : "storage" },
      })),
    });
    this.#layouts.set(signature, layout);
    return layout;
  }

  /** Resolves when nothing is being compiled; rejects with the first kernel that was refused. */
  async settle(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => entry.compiling));
    for (const { error } of this.#entries.values()) if (error) throw error;
  }

  async #compile(entry: PipelineEntry): Promise<void> {
    const label = entry.key;
    // A module that does not parse is an error of its own, beside that of its pipeline.
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label, code: entry.code });
    const parsing = this.#device.popErrorScope().catch(() => null);
    try {
      entry.pipeline = await this.#device.createComputePipelineAsync({
        label,
        layout: this.#device.createPipelineLayout({
          bindGroupLayouts: [this.layout(entry.signature), this.#paramsLayout],
        }),
        compute: { module, entryPoint: "main" },
      });
    } catch (cause) {
      const error = (await parsing) ?? cause;
      const why = hasMessage(error) ? error.message : String(error);
      entry.error = new UnsupportedError(
        `the WGSL kernel ${label} did not compile on this adapter: ${firstLine(why)}`,
        label,
        { cause },
      );
    } finally {
      entry.compiling = undefined;
    }
  }
}

function hasMessage(error: unknown): error is { readonly message: string } {
  return typeof error === "object" && error !== null && "message" in error;
}

function firstLine(text: string): string {
  return text.split("\n").find((line) => line.trim() !== "") ?? text;
}

import type { MoietyError } from "@moiety/core";
import { Arena } from "./arena.ts";
import type { GpuContext } from "./context.ts";
import type { Block, GpuHandle } from "./memory.ts";
import type { PipelineEntry, Pipelines } from "./pipelines.ts";

/** Commands are handed to the GPU at the latest when so many wait. */
const BATCH = 128;
/** Bind groups are remembered up to this number. */
const REMEMBERED_GROUPS = 4096;

/** A call, as its late failure is reported. */
export interface Ticket {
  readonly op: string;
  /** What the call should have written. */
  readonly handles: readonly GpuHandle[];
  failed: boolean;
}

/** A piece of a block as a kernel sees it. */
export interface Binding {
  readonly block: Block;
  readonly bytes: number;
}

interface Dispatch {
  readonly kind: "dispatch";
  readonly entry: PipelineEntry;
  readonly bindings: readonly Binding[];
  readonly params: Uint8Array;
  readonly groups: readonly [number, number, number];
  readonly ticket: Ticket;
}

interface Write {
  readonly kind: "write";
  readonly block: Block;
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly ticket: Ticket;
}

interface Copy {
  readonly kind: "copy";
  readonly source: Block;
  readonly sourceOffset: number;
  /** A block, or a buffer that the host will map. */
  readonly target: Block | GPUBuffer;
  readonly targetOffset: number;
  readonly bytes: number;
  readonly ticket: Ticket;
  /** Called once the copy is submitted, or with what kept it from that. */
  readonly done?: ((failure?: MoietyError) => void) | undefined;
}

/** One thing to do, in its place in the order. */
export type Command = Dispatch | Write | Copy;

/** What the queue tells its owner. */
export interface QueueListener {
  /** A call failed after it returned. */
  failed(ticket: Ticket, error: MoietyError): void;
}

/**
 * Keeps the order of calls. A command whose kernel is still being compiled, or whose buffer has not
 * arrived, holds up those behind it; whatever is ready goes to the GPU in one command buffer.
 */
export class Queue {
  readonly #context: GpuContext;
  readonly #pipelines: Pipelines;
  readonly #listener: QueueListener;
  readonly #debug: ((ticket: Ticket, submit: () => void) => void) | undefined;
  readonly #arena: Arena;
  readonly #groups = new Map<string, GPUBindGroup>();
  #commands: Command[] = [];
  #waiting = false;
  #scheduled = false;
  #idle: (() => void)[] = [];
  #stopped: MoietyError | undefined;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #bound: PipelineEntry | undefined;
  /** Commands that are encoded and not submitted, to be settled by the submit. */
  #encoded: Command[] = [];
  dispatches = 0;
  submits = 0;

  /** `debug` wraps every submit, one command each, in error scopes. */
  constructor(
    context: GpuContext,
    pipelines: Pipelines,
    listener: QueueListener,
    debug?: (ticket: Ticket, submit: () => void) => void,
  ) {
    this.#context = context;
    this.#pipelines = pipelines;
    this.#listener = listener;
    this.#debug = debug;
    this.#arena = new Arena(context.device, pipelines.paramsLayout);
  }

  /** Whether everything was handed to the GPU. */
  get empty(): boolean {
    return this.#commands.length === 0;
  }

  /** Puts a command at the end. */
  add(command: Command): void {
    if (this.#stopped) {
      settle(command, this.#stopped);
      return;
    }
    for (const block of blocksOf(command)) block.pending++;
    this.#commands.push(command);
    if (this.#waiting) return;
    if (this.#commands.length >= BATCH) this.#advance();
    else this.#schedule();
  }

  /** Hands over what is ready, now. */
  flush(): void {
    if (!this.#waiting) this.#advance();
  }

  /** Resolves when everything that is queued now was handed to the GPU. */
  async drained(): Promise<void> {
    this.flush();
    while (!this.empty) {
      // oxlint-disable-next-line no-await-in-loop -- each wait ends when the queue has moved on
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  /** Drops everything and takes nothing more. */
  stop(why: MoietyError): void {
    this.#stopped = why;
    for (const command of [...this.#encoded, ...this.#commands]) {
      release(command);
      settle(command, why);
    }
    this.#encoded = [];
    this.#commands = [];
    this.#wake();
    this.#groups.clear();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #advance(): void {
    this.#waiting = false;
    const commands = this.#commands;
    let next = 0;
    for (; next < commands.length; next++) {
      const command = commands[next] as Command;
      const obstacle = obstacleOf(command);
      if (obstacle) {
        this.#waiting = true;
        void obstacle.then(() => this.#advance());
        break;
      }
      this.#execute(command);
    }
    this.#submit();
    this.#commands = next === commands.length ? [] : commands.slice(next);
    this.#wake();
  }

  #wake(): void {
    if (!this.empty) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }

  #execute(command: Command): void {
    const error = errorOf(command);
    if (error) {
      release(command);
      settle(command, error);
      if (!command.ticket.failed) {
        command.ticket.failed = true;
        this.#listener.failed(command.ticket, error);
      }
      return;
    }
    if (this.#debug) {
      this.#debug(command.ticket, () => {
        this.#encode(command);
        this.#submit();
      });
      return;
    }
    this.#encode(command);
  }

  #encode(command: Command): void {
    if (command.kind === "write") {
      this.#submit();
      this.#context.device.queue.writeBuffer(command.block.buffer, command.offset, command.bytes);
      release(command);
      return;
    }
    if (command.kind === "copy") {
      this.#endPass();
      const { source, sourceOffset, target, targetOffset, bytes } = command;
      const buffer = "buffer" in target ? target.buffer : target;
      this.#commandEncoder().copyBufferToBuffer(
        source.buffer,
        sourceOffset,
        buffer,
        targetOffset,
        bytes,
      );
    } else {
      this.#dispatch(command);
    }
    this.#encoded.push(command);
  }

  #dispatch({ entry, bindings, params, groups }: Dispatch): void {
    if (this.#arena.full) this.#submit();
    const offset = this.#arena.add(params);
    this.#pass ??= this.#commandEncoder().beginComputePass();
    const pass = this.#pass;
    if (this.#bound !== entry) {
      pass.setPipeline(entry.pipeline as GPUComputePipeline);
      this.#bound = entry;
    }
    pass.setBindGroup(0, this.#bindGroup(entry, bindings));
    pass.setBindGroup(1, this.#arena.group, [offset]);
    pass.dispatchWorkgroups(...groups);
    this.dispatches++;
  }

  #bindGroup({ signature }: PipelineEntry, bindings: readonly Binding[]): GPUBindGroup {
    let key = signature;
    for (const { block, bytes } of bindings) key += `|${block.id}:${bytes}`;
    const known = this.#groups.get(key);
    if (known) return known;
    if (this.#groups.size >= REMEMBERED_GROUPS) this.#groups.clear();
    const group = this.#context.device.createBindGroup({
      layout: this.#pipelines.layout(signature),
      entries: bindings.map(({ block, bytes }, binding) => ({
        binding,
        resource: { buffer: block.buffer, size: bytes },
      })),
    });
    this.#groups.set(key, group);
    return group;
  }

  #commandEncoder(): GPUCommandEncoder {
    this.#encoder ??= this.#context.device.createCommandEncoder();
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#bound = undefined;
  }

  #submit(): void {
    if (this.#encoder === undefined) return;
    this.#endPass();
    this.#arena.upload();
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    this.#context.device.queue.submit([commands]);
    this.submits++;
    const done = this.#encoded;
    this.#encoded = [];
    for (const command of done) {
      release(command);
      settle(command);
    }
  }
}

function blocksOf(command: Command): readonly Block[] {
  switch (command.kind) {
    case "dispatch":
      return command.bindings.map(({ block }) => block);
    case "write":
      return [command.block];
    case "copy":
      return "buffer" in command.target ? [command.source, command.target] : [command.source];
  }
}

function release(command: Command): void {
  for (const block of blocksOf(command)) block.pending--;
}

function settle(command: Command, failure?: MoietyError): void {
  if (command.kind === "copy") command.done?.(failure);
}

/** What a command has to wait for. */
function obstacleOf(command: Command): Promise<void> | undefined {
  if (command.kind === "dispatch" && command.entry.compiling) return command.entry.compiling;
  return blocksOf(command).find((block) => block.arriving)?.arriving;
}

/** Why a command cannot be done. */
function errorOf(command: Command): MoietyError | undefined {
  if (command.kind === "dispatch" && command.entry.error) return command.entry.error;
  return blocksOf(command).find((block) => block.missing)?.missing;
}

import {
  type DriverStatistics,
  type MoietyError,
  type TensorSpec,
  OutOfMemoryError,
  ShapeError,
  UnsupportedError,
} from "@moiety/core";
import type { AcquiredDevice } from "./adapter.ts";
import { type Counters, type GpuContext, deviceLost } from "./context.ts";
import type { KernelCall, KernelHost } from "./kernel.ts";
import { type Block, type GpuHandle, Memory } from "./memory.ts";
import type { Settings } from "./options.ts";
import { Pipelines } from "./pipelines.ts";
import { type DispatchRequest, prepareDispatch } from "./program.ts";
import { Queue, type Ticket } from "./queue.ts";
import { Readings } from "./readings.ts";
import { alignedPieces } from "./uploads.ts";

/** Tells core of a failure; no handles means the whole device. */
type Report = (error: MoietyError, handles: readonly GpuHandle[]) => void;

interface OpenTicket extends Ticket {
  handles: readonly GpuHandle[];
}

/** One device from its first use to its loss: memory, kernels and the order of work. */
export class DeviceLife implements KernelHost {
  readonly context: GpuContext;
  readonly number: number;
  readonly #acquired: AcquiredDevice;
  readonly #memory: Memory;
  readonly #pipelines: Pipelines;
  readonly #queue: Queue;
  readonly #readings: Readings;
  readonly #report: Report;
  readonly #tickets = new WeakMap<KernelCall, OpenTicket>();
  #lost: MoietyError | undefined;
  #ended = false;
  /** A GPU error that no call has been blamed for; the next wait rejects with it. */
  #unclaimed: MoietyError | undefined;
  #nextBlock = 0;

  constructor(acquired: AcquiredDevice, settings: Settings, number: number, report: Report) {
    const { context } = acquired;
    const { device } = context;
    this.#acquired = acquired;
    this.context = context;
    this.number = number;
    this.#report = report;
    this.#memory = new Memory(context, number, settings.memoryLimit, () => this.#nextBlock++);
    this.#pipelines = new Pipelines(device, settings.debug);
    this.#queue = new Queue(
      context,
      this.#pipelines,
      { failed: (ticket, error) => this.#fail(ticket, error) },
      settings.debug ? (ticket, submit) => this.#watch(ticket, submit) : undefined,
    );
    this.#readings = new Readings(device);
    device.addEventListener("uncapturederror", ({ error }) => {
      this.#unclaimed ??= namedError(error);
    });
    void device.lost.then(({ message, reason }) => this.#lose(message || reason));
  }

  /** Throws the error of a lost device. */
  assertUsable(): void {
    if (this.#lost) throw this.#lost;
  }

  counters(): Counters {
    return {
      dispatches: this.#queue.dispatches,
      submits: this.#queue.submits,
      pipelines: this.#pipelines.count,
      maps: this.#readings.maps,
      buffersCreated: this.#memory.created,
    };
  }

  allocate(spec: TensorSpec): GpuHandle {
    this.assertUsable();
    return this.#memory.allocate(spec);
  }

  free(handle: GpuHandle): void {
    if (this.#ended || handle.life !== this.number) return;
    this.#memory.free(handle);
    if (this.#queue.empty) this.#memory.sweep();
  }

  write(handle: GpuHandle, offset: number, bytes: Uint8Array): void {
    this.assertUsable();
    assertInside(handle, offset, bytes.byteLength);
    const ticket: Ticket = { op: "upload", handles: [handle], failed: false };
    for (const piece of alignedPieces(handle, offset, bytes)) {
      const block = handle.blocks[piece.segment] as Block;
      // Unsubmitted work may still use the buffer in an earlier role.
      if (block.pending === 0 && block.arriving === undefined && block.missing === undefined) {
        this.context.device.queue.writeBuffer(block.buffer, piece.offset, piece.bytes);
      } else {
        const copied = piece.bytes.slice();
        this.#queue.add({ kind: "write", block, offset: piece.offset, bytes: copied, ticket });
      }
    }
  }

  async read(handle: GpuHandle, offset: number, length: number): Promise<Uint8Array> {
    if (handle.life !== this.number) throw deviceLost("the tensor was on the device before");
    this.assertUsable();
    assertInside(handle, offset, length);
    const bytes = this.#readings.read(handle, offset, length, this.#queue);
    this.#queue.flush();
    try {
      const result = await bytes;
      this.#claim();
      return result;
    } catch (error) {
      throw await this.#causeOf(error);
    }
  }

  async sync(): Promise<void> {
    this.assertUsable();
    await this.#queue.drained();
    this.#memory.sweep();
    await this.context.device.queue.onSubmittedWorkDone();
    this.assertUsable();
    this.#claim();
  }

  /** Resolves when every kernel is compiled. */
  settlePipelines(): Promise<void> {
    return this.#pipelines.settle();
  }

  statistics(): DriverStatistics {
    return this.#memory.statistics();
  }

  dispatch(
    request: DispatchRequest,
    groups: readonly [number, number, number],
    call: KernelCall,
  ): void {
    const { key, signature, bindings, params, code } = prepareDispatch(request, this.context);
    const entry = this.#pipelines.get(key, signature, code);
    const ticket = this.#ticketOf(call);
    this.#queue.add({ kind: "dispatch", entry, bindings, params, groups, ticket });
  }

  copy(
    source: GpuHandle,
    sourceOffset: number,
    target: GpuHandle,
    targetOffset: number,
    bytes: number,
    call: KernelCall,
  ): void {
    const ticket = this.#ticketOf(call);
    for (let done = 0; done < bytes;) {
      const [from, to] = [sourceOffset + done, targetOffset + done];
      const [fromPlace, toPlace] = [from % source.segmentBytes, to % target.segmentBytes];
      const room = Math.min(source.segmentBytes - fromPlace, target.segmentBytes - toPlace);
      const length = Math.min(bytes - done, room);
      this.#queue.add({
        kind: "copy",
        source: source.blocks[Math.floor(from / source.segmentBytes)] as Block,
        sourceOffset: fromPlace,
        target: target.blocks[Math.floor(to / target.segmentBytes)] as Block,
        targetOffset: toPlace,
        bytes: length,
        ticket,
      });
      done += length;
    }
  }

  /** Notes what a finished call gave, so that its late failure can name it. */
  issued(call: KernelCall, handles: readonly GpuHandle[]): void {
    const ticket = this.#tickets.get(call);
    if (ticket) ticket.handles = handles;
  }

  /** Ends the life: nothing is done any more, and every wait rejects. */
  end(why: MoietyError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#lost ??= why;
    this.#queue.stop(this.#lost);
    this.#memory.dispose();
    this.#readings.dispose();
    if (this.#acquired.own) this.context.device.destroy();
  }

  #ticketOf(call: KernelCall): Ticket {
    const known = this.#tickets.get(call);
    if (known) return known;
    const ticket: OpenTicket = { op: call.op.name, handles: [], failed: false };
    this.#tickets.set(call, ticket);
    return ticket;
  }

  /** Reports once the call has returned, so that core knows the handles. */
  #fail(ticket: Ticket, error: MoietyError): void {
    void Promise.resolve().then(() => {
      // No handles would mean the whole device; a read that fails rejects by itself.
      if (!this.#ended && ticket.handles.length > 0) this.#report(error, ticket.handles);
    });
  }

  #lose(why: string): void {
    if (this.#ended || this.#lost) return;
    this.#lost = deviceLost(why);
    this.#queue.stop(this.#lost);
    this.#report(this.#lost, []);
  }

  #claim(): void {
    const error = this.#unclaimed;
    this.#unclaimed = undefined;
    if (error) throw error;
  }

  /** A read that fails because the device goes away is told apart from one that fails by itself. */
  async #causeOf(error: unknown): Promise<unknown> {
    if (this.#lost) return this.#lost;
    if (error instanceof Error && "code" in error && typeof error.code === "string") return error;
    await Promise.race([this.context.device.lost, Promise.resolve()]);
    await Promise.resolve();
    if (this.#lost) return this.#lost;
    const why = error instanceof Error ? error.message : String(error);
    return new UnsupportedError(`reading from the GPU failed: ${why}`, "mapAsync", {
      cause: error,
    });
  }

  /** Debug mode: blames the call whose command caused a GPU error. */
  #watch(ticket: Ticket, submit: () => void): void {
    const { device } = this.context;
    const filters: readonly GPUErrorFilter[] = ["validation", "internal", "out-of-memory"];
    for (const filter of filters) device.pushErrorScope(filter);
    submit();
    for (const _ of filters) {
      void device.popErrorScope().then(
        (error) => {
          if (error === null) return;
          const named = namedError(error, ticket.op);
          if (ticket.handles.length > 0) this.#fail(ticket, named);
          else this.#unclaimed ??= named;
        },
        () => undefined,
      );
    }
  }
}

/** A GPU error as one of ours. */
function namedError(error: GPUError, op?: string): MoietyError {
  const where = op === undefined ? "" : ` in ${op}`;
  const isMemory = error.constructor.name === "GPUOutOfMemoryError";
  if (isMemory)
    return new OutOfMemoryError(`out of GPU memory${where}: ${error.message}`, 0, { op });
  return new UnsupportedError(
    `the GPU refused a command${where}: ${error.message.split("\n")[0]}` +
      (op === undefined ? " (create the backend with debug: true to learn of which call)" : ""),
    "webgpu",
    { op },
  );
}

function assertInside(handle: GpuHandle, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= handle.byteLength) return;
  throw new ShapeError(
    `bytes ${offset} … ${offset + length} are outside a buffer of ${handle.byteLength} bytes`,
  );
}

import { CONTROL } from "./library.ts";
import { type NodeThreads, host, nodeModule } from "./platform.ts";

/** What a worker is given. */
export interface WorkerTask {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** A message of a worker. */
type WorkerMessage = { readonly ready: true } | { readonly failed: string };

/** A thread that works for a team. */
export interface Helper {
  /** Resolves once it waits for jobs; rejects where it cannot start. */
  readonly ready: Promise<void>;
  /** Ends it, also in the middle of a job. */
  terminate(): Promise<unknown>;
}

/**
 * The text of a worker: plain JavaScript, so that no bundler has to find a file. A kernel that fails
 * is told through shared memory, since whoever waits for it does not read messages meanwhile.
 */
const WORKER_TEXT = `function work({ module, memory }, send) {
  let serve;
  try {
    serve = new WebAssembly.Instance(module, { env: { memory } }).exports.serve;
  } catch (error) {
    send({ failed: String(error) });
    return;
  }
  send({ ready: true });
  try {
    serve();
  } catch (error) {
    const words = new Int32Array(memory.buffer);
    Atomics.store(words, ${CONTROL.failed / 4}, 1);
    Atomics.add(words, ${CONTROL.left / 4}, 1);
    Atomics.notify(words, ${CONTROL.left / 4});
    send({ failed: String(error) });
  }
}`;

const NODE_TEXT = `const { parentPort, workerData } = require("node:worker_threads");
${WORKER_TEXT}
work(workerData, (message) => parentPort.postMessage(message));`;

const WEB_TEXT = `${WORKER_TEXT}
onmessage = ({ data }) => work(data, (message) => postMessage(message));`;

/**
 * Starts a thread. `onEnd` is called when it ends or fails, whatever the reason, and perhaps more than
 * once. Throws where the host has no threads.
 */
export function startHelper(task: WorkerTask, onEnd: (reason: string) => void): Helper {
  const threads = nodeModule<NodeThreads>("node:worker_threads");
  return threads === undefined ? startInBrowser(task, onEnd) : startInNode(threads, task, onEnd);
}

/** What becomes of a worker: whether it is ready, and when it ends. */
interface Fate {
  readonly ready: Promise<void>;
  hear(message: unknown): void;
  end(reason: string): void;
}

function fateOf(onEnd: (reason: string) => void): Fate {
  let settle = { resolve: (): void => undefined, reject: (_: Error): void => undefined };
  const ready = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Whoever starts several waits for them only when all are made.
  ready.catch(() => undefined);
  const end = (reason: string): void => {
    settle.reject(new Error(reason));
    onEnd(reason);
  };
  return {
    ready,
    end,
    hear(message) {
      const said = message as WorkerMessage;
      if ("ready" in said) settle.resolve();
      else end(said.failed);
    },
  };
}

function startInNode(
  { Worker }: NodeThreads,
  task: WorkerTask,
  onEnd: (reason: string) => void,
): Helper {
  // Flags of the process are not for it: some cannot be given to a worker.
  const worker = new Worker(NODE_TEXT, { eval: true, workerData: task, execArgv: [] });
  const fate = fateOf(onEnd);
  worker.on("message", (message) => fate.hear(message));
  worker.on("error", (error) => fate.end(String(error)));
  worker.on("exit", () => fate.end("a worker ended"));
  worker.unref();
  return { ready: fate.ready, terminate: () => worker.terminate() };
}

function startInBrowser(task: WorkerTask, onEnd: (reason: string) => void): Helper {
  const { Worker, Blob, URL } = host();
  if (!Worker || !Blob || !URL) throw new Error("there are no workers here");
  const url = URL.createObjectURL(new Blob([WEB_TEXT], { type: "text/javascript" }));
  const worker = new Worker(url);
  const fate = fateOf(onEnd);
  worker.addEventListener("message", ({ data }) => fate.hear(data));
  worker.addEventListener("error", ({ message }) => fate.end(message || "a worker failed"));
  worker.addEventListener("messageerror", () => fate.end("a worker cannot be given the memory"));
  const revoke = (): void => URL.revokeObjectURL(url);
  fate.ready.then(revoke, revoke);
  worker.postMessage(task, []);
  return {
    ready: fate.ready,
    async terminate() {
      worker.terminate();
    },
  };
}

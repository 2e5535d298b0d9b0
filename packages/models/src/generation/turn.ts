/** What the platforms offer to come back later; none has all of it. */
interface Platform {
  readonly setImmediate?: ((run: () => void) => unknown) | undefined;
  readonly MessageChannel?: (new () => Channel) | undefined;
  setTimeout(run: () => void, milliseconds: number): unknown;
}

interface Channel {
  readonly port1: {
    addEventListener(type: "message", listener: () => void): void;
    start(): void;
    close(): void;
  };
  readonly port2: { postMessage(message: unknown): void };
}

/**
 * Lets everything else that waits for this thread have its turn. A backend that computes on the
 * host's thread would otherwise keep it from step to step, and nobody could abort.
 */
export function turn(): Promise<void> {
  const { setImmediate, MessageChannel, ...platform } = globalThis as unknown as Platform;
  return new Promise((resolve) => {
    if (setImmediate) {
      setImmediate(resolve);
    } else if (MessageChannel) {
      // Browsers make timers wait for some milliseconds, messages not.
      const { port1, port2 } = new MessageChannel();
      port1.addEventListener("message", () => {
        port1.close();
        resolve();
      });
      port1.start();
      port2.postMessage(undefined);
    } else {
      platform.setTimeout(resolve, 0);
    }
  });
}

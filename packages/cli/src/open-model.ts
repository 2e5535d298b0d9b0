import type { FileFolder } from "@moiety/checkpoints";
import {
  type DecoderModel,
  type ExpertFormat,
  type ReadyModel,
  type RestFormat,
  causalDecoder,
  decoder,
  loadModel,
} from "@moiety/models";
import { openModelFolder } from "./model-folder.ts";
import { type OpenedBackend, openBackend } from "./open-backend.ts";
import { StatusLine } from "./status-line.ts";
import type { Surroundings } from "./surroundings.ts";
import { bytesText } from "./units.ts";

/** What of a command line says how a model is opened. */
export interface ModelOptions {
  /** Name of a backend, or `auto`. */
  readonly backend: string;
  readonly threads?: number | undefined;
  /** Format of the experts' matrices. As they are unless given. */
  readonly quantize?: ExpertFormat | undefined;
  /** Dtype or format of the other matrices. As they are unless given. */
  readonly rest?: RestFormat | undefined;
}

/** A model that can be run. */
export interface OpenModel extends ReadyModel {
  /** By which it is run: where routers look across tokens, by their causal rule. */
  readonly causal: DecoderModel;
  readonly folder: FileFolder;
  readonly opened: OpenedBackend;
}

const PERCENT = 100;

/** Opens a folder's model on a backend, does something with it, and gives all back. */
export async function withModel<Value>(
  given: string,
  options: ModelOptions,
  surroundings: Surroundings,
  signal: AbortSignal,
  work: (model: OpenModel) => Promise<Value>,
): Promise<Value> {
  const { folder, checkpoint } = await openModelFolder(given);
  try {
    const opened = await openBackend({ name: options.backend, threads: options.threads });
    try {
      surroundings.status.write(`${opened.line}\n`);
      const { backend } = opened;
      const status = new StatusLine(surroundings.status);
      const ready = await loadModel(checkpoint, {
        backend,
        signal,
        quantize: { experts: options.quantize, rest: options.rest },
        onProgress: ({ tensor, bytes, totalBytes, bytesPerSecond }) => {
          const share = totalBytes === 0 ? PERCENT : Math.floor((PERCENT * bytes) / totalBytes);
          status.show(`loading ${share}% at ${bytesText(bytesPerSecond)}/s: ${tensor}`);
        },
      }).finally(() => status.clear());
      return await work({ ...ready, causal: causalOf(ready), folder, opened });
    } finally {
      await opened.backend.dispose();
    }
  } finally {
    await checkpoint.close();
  }
}

/** The model by which no token sees a later one. @throws UnsupportedError where there is none */
export function causalOf({ model }: ReadyModel): DecoderModel {
  return decoder(causalDecoder(model.config));
}

import {
  type Backend,
  type Leaf,
  type Shape,
  apply,
  leavesOf,
  isTensor,
  sizeOf,
} from "@moiety/core";
import {
  type DecoderModel,
  type DecoderParams,
  type DecoderState,
  generate,
  mapShapes,
  modelFromConfig,
} from "@moiety/models";
import { halfBits } from "../layer.ts";
import { type Format, type Storage, storageOf } from "./formats.ts";
import type { HostModel } from "./olmoe.ts";
import { BLOCK, type RandomMatrix } from "./random-matrix.ts";

/** Somebody who holds the model and continues prompts, greedily. */
export interface Continuer {
  /** Who, in which version and precision. */
  readonly name: string;
  /** Logarithms of the probabilities of every next token, after each token: `[T][V]`. */
  logProbabilities(prompt: readonly number[]): Promise<Float64Array[]>;
  /** The tokens that follow, one for each step. The first takes the whole prompt through the model. */
  start(prompt: readonly number[], maxNewTokens: number): AsyncGenerator<number, void, undefined>;
  dispose(): Promise<void>;
}

/** What code a zero has, and how many share a byte. */
const CODES = {
  q8: { zeroPoint: 128, perByte: 1 },
  q4: { zeroPoint: 8, perByte: 2 },
} as const;

/** Values that are on their way at a time: whole blocks. */
const PIECE = 2 ** 22;

/**
 * Puts the model on a backend, as `loadModel` and `quantize` of `@moiety/models` leave one there, without
 * holding it in float32 before.
 *
 * @throws Error where the format stores weights in something else than the model does
 */
export async function ourModel(
  backend: Backend,
  host: HostModel,
  format: Format,
): Promise<Continuer> {
  if (storageOf(format) !== host.experts) {
    throw new Error(`a model stored in ${host.experts} cannot be held in ${format}`);
  }
  const { model, state } = builtModel(host, format);
  const leaves = new Map<string, Leaf>();
  const shapes: [path: string, shape: Shape][] = [];
  mapShapes(model.shapes, (shape, path) => shapes.push([path, shape]));
  for (const [path, shape] of shapes) {
    // oxlint-disable-next-line no-await-in-loop -- or the whole model would be on its way
    leaves.set(path, await uploaded(backend, host, path, shape));
  }
  const params = mapShapes(model.shapes, (_, path) => leaves.get(path)) as DecoderParams;
  return {
    name: `moiety on ${backend.name}, ${format}`,
    async logProbabilities(prompt) {
      const logits = backend.scope(() => {
        const ids = backend.tensor(Int32Array.from(prompt), { shape: [1, prompt.length] });
        return apply(model, params, state, ids).logits;
      });
      const values = (await logits.read()) as Float32Array;
      logits.dispose();
      const width = values.length / prompt.length;
      return prompt.map((_, row) => logSoftmax(values.subarray(row * width, (row + 1) * width)));
    },
    start: (prompt, maxNewTokens) => generate(model, params, state, prompt, { maxNewTokens }),
    dispose() {
      for (const { leaf } of leavesOf(params)) {
        if (isTensor(leaf)) leaf.dispose();
        else for (const part of [leaf.codes, leaf.scales]) part.dispose();
      }
      return Promise.resolve();
    },
  };
}

/** The model that a `config.json` describes which says how the weights are held. */
function builtModel(
  { config, experts, rest }: HostModel,
  format: Format,
): { readonly model: DecoderModel; readonly state: DecoderState } {
  const held = {
    quant_method: "moiety",
    experts: format,
    rest: rest === experts ? format : rest,
  };
  const { model } = modelFromConfig({
    ...config,
    ...(format !== "f32" && { quantization_config: held }),
  });
  // Routers of this family keep nothing.
  return { model, state: mapShapes(model.stateShapes, () => undefined) as DecoderState };
}

async function uploaded(
  backend: Backend,
  host: HostModel,
  path: string,
  shape: Shape,
): Promise<Leaf> {
  const matrix = host.leaf(path, shape);
  const storage = storageAt(host, path, shape);
  if (storage === "q8" || storage === "q4") return uploadedCodes(backend, matrix, storage);
  const plain = storage === "f32";
  const upload = backend.upload({ shape, dtype: plain ? "f32" : "f16" });
  const size = sizeOf(shape);
  for (let start = 0; start < size; start += PIECE) {
    const values = matrix.values(start, Math.min(PIECE, size - start));
    const data = plain ? values : halfBits(values);
    upload.write(start * data.BYTES_PER_ELEMENT, new Uint8Array(data.buffer));
    // oxlint-disable-next-line no-await-in-loop -- or all pieces would be held at once
    await backend.sync();
  }
  return upload.finish();
}

/** What a leaf is stored in. */
function storageAt({ experts, rest }: HostModel, path: string, shape: Shape): Storage {
  if (shape.length === 1 || path.includes(".router.")) return "f32";
  return path.includes(".experts.") ? experts : rest;
}

/** Codes are the whole numbers above the code of zero, and every block's scale is the step. */
async function uploadedCodes(
  backend: Backend,
  { shape, step, values }: RandomMatrix,
  storage: keyof typeof CODES,
): Promise<Leaf> {
  const { zeroPoint, perByte } = CODES[storage];
  const size = sizeOf(shape);
  const [rows, width] = [shape.slice(0, -1), shape.at(-1) ?? 0];
  const codes = backend.upload({ shape: [...rows, width / perByte], dtype: "u8" });
  for (let start = 0; start < size; start += PIECE) {
    const numbers = values(start, Math.min(PIECE, size - start));
    const bytes = new Uint8Array(numbers.length / perByte);
    for (let index = 0; index < numbers.length; index++) {
      const code = (numbers[index] ?? 0) / step + zeroPoint;
      const at = perByte === 1 ? index : index >> 1;
      bytes[at] = (bytes[at] ?? 0) | (perByte === 1 || index % 2 === 0 ? code : code << 4);
    }
    codes.write(start / perByte, bytes);
    // oxlint-disable-next-line no-await-in-loop -- or all pieces would be held at once
    await backend.sync();
  }
  const scales = new Float32Array(size / BLOCK).fill(step);
  return {
    codes: codes.finish(),
    scales: backend.tensor(scales, { shape: [...rows, width / BLOCK] }),
  };
}

function logSoftmax(logits: Float32Array): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of logits) largest = Math.max(largest, value);
  let total = 0;
  for (const value of logits) total += Math.exp(value - largest);
  const apart = largest + Math.log(total);
  return Float64Array.from(logits, (value) => value - apart);
}

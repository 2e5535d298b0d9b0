import { type Shape, sizeOf } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { hostEntry } from "../host/encode.ts";
import { type SafetensorsFile, openSafetensors } from "../safetensors/read.ts";
import { encodeSafetensors } from "../safetensors/write.ts";
import { bytesSource } from "../source.ts";
import { bindRules } from "./bind.ts";
import { streamPath } from "./stream.ts";
import { storedBytes } from "./stored.ts";

/** A matrix that takes several chunks, and several bands where it is transposed. */
const shape: Shape = [1500, 3100];

async function bigFile(): Promise<{ file: SafetensorsFile; data: Float32Array }> {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, index) => (index * 7) % 251);
  const entry = hostEntry("w", { dtype: "f32", shape, data }, "BF16");
  const file = await openSafetensors(bytesSource(await encodeSafetensors([entry])));
  return { file, data };
}

function bindingOf(transpose: boolean) {
  const held = transpose ? shape.toReversed() : shape;
  const [binding] = bindRules([{ path: "w", names: ["w"], transpose }], {}, new Map([["w", held]]));
  return binding ?? expect.fail("nothing was bound");
}

describe("streamPath", () => {
  it.each([false, true])("writes every place once (transposed: %s)", async (transpose) => {
    const { file, data } = await bigFile();
    const binding = bindingOf(transpose);
    const place = new Uint8Array(data.length * 4);
    let [written, largest, told] = [0, 0, 0];
    await streamPath(
      file,
      binding,
      "f32",
      {
        write(offset, bytes) {
          place.set(bytes, offset);
          written += bytes.length;
          largest = Math.max(largest, bytes.length);
        },
      },
      {
        onRead(name, bytes) {
          expect(name).toBe("w");
          told += bytes;
        },
      },
    );
    expect(written).toBe(place.length);
    expect(largest).toBeLessThanOrEqual(1 << 24);
    expect(told).toBe(data.length * 2);
    const [part] = binding.parts;
    if (!part) throw new Error("no part");
    expect(storedBytes(binding, part, file.tensors)).toBe(data.length * 2);
    const values = new Float32Array(place.buffer);
    const [rows = 0, columns = 0] = shape;
    const wrong = data.findIndex((value, index) => {
      const at = transpose ? (index % columns) * rows + Math.floor(index / columns) : index;
      return values[at] !== value;
    });
    expect(wrong).toBe(-1);
  });

  it("stops between two pieces when it is told to", async () => {
    const { file } = await bigFile();
    const signal = { aborted: false, reason: new Error("enough") };
    let pieces = 0;
    const target = {
      write() {
        pieces++;
        signal.aborted = true;
      },
    };
    await expect(streamPath(file, bindingOf(false), "f32", target, { signal })).rejects.toBe(
      signal.reason,
    );
    expect(pieces).toBe(1);
    await expect(streamPath(file, bindingOf(false), "f32", target, { signal })).rejects.toBe(
      signal.reason,
    );
    expect(pieces).toBe(1);
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Backend, ConfigError, NumericError, apply, randomKey } from "@moiety/core";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { blockConfig, quantizedBackends } from "../testing/quantized.ts";
import { tinyConfigs, tokens } from "../testing/tiny.ts";
import { quantizationError } from "./error.ts";
import { quantize } from "./quantize.ts";

/** The same numbers by hand, in float64, from the logits of both models `[T, V]`. */
function byHand(a: readonly number[][], b: readonly number[][]): Record<string, number> {
  const logSoftmax = (row: readonly number[]): number[] => {
    const top = Math.max(...row);
    const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0)) + top;
    return row.map((value) => value - total);
  };
  const divergences = a.map((row, token) => {
    const [p, q] = [logSoftmax(row), logSoftmax(b[token] ?? [])];
    return p.reduce((sum, value, index) => sum + Math.exp(value) * (value - (q[index] ?? 0)), 0);
  });
  const gaps = a.flatMap((row, token) =>
    row.map((value, index) => Math.abs(value - (b[token]?.[index] ?? 0))),
  );
  const first = (row: readonly number[] = []): number => row.indexOf(Math.max(...row));
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    klMean: mean(divergences),
    klMax: Math.max(...divergences),
    logitMax: Math.max(...gaps),
    logitRms: Math.sqrt(mean(gaps.map((gap) => gap ** 2))),
    top1Agreement: mean(a.map((row, token) => Number(first(row) === first(b[token])))),
    tokens: a.length,
  };
}

describe.each(Object.keys(quantizedBackends))("quantizationError on %s", (name) => {
  let backend: Backend;
  let ready: ReadyModel;

  beforeAll(async () => {
    backend = await (quantizedBackends[name] as () => Promise<Backend>)();
    ready = initModel(blockConfig, randomKey(5), { backend });
  });

  afterAll(() => backend.dispose());

  it("is what both models' logits say", async () => {
    const small = await quantize(ready, { experts: "mxfp4", rest: "bf16" });
    const ids = tokens(backend, 3, 5);
    const before = backend.statistics().liveBuffers;
    const found = await quantizationError(ready, small, ids);
    expect(backend.statistics().liveBuffers).toBe(before);
    const rows = await Promise.all(
      [ready, small].map(async ({ model, params, state }) => {
        const values = [...(await apply(model, params, state, ids).logits.read())];
        return Array.from({ length: 15 }, (_, token) => values.slice(token * 13, token * 13 + 13));
      }),
    );
    const wanted = byHand(rows[0] ?? [], rows[1] ?? []);
    expect(Object.keys(found)).toEqual(Object.keys(wanted));
    for (const [key, value] of Object.entries(found)) {
      expect(Math.abs(value / (wanted[key] ?? 0) - 1), key).toBeLessThan(1e-3);
    }
  });

  it("is nothing between a model and itself, and grows with what is left out", async () => {
    const ids = tokens(backend, 2, 6);
    expect(await quantizationError(ready, ready, ids)).toEqual({
      klMean: 0,
      klMax: 0,
      logitMax: 0,
      logitRms: 0,
      top1Agreement: 1,
      tokens: 12,
    });
    const errors: number[] = [];
    for (const experts of ["q8_32", "q4_32"] as const) {
      const small = await quantize(ready, { experts });
      errors.push((await quantizationError(ready, small, ids)).logitRms);
    }
    expect(errors[0]).toBeGreaterThan(0);
    expect(errors[1]).toBeGreaterThan(4 * (errors[0] ?? 0));
  });

  it("refuses models of other vocabularies, no tokens, and logits that are not finite", async () => {
    const ids = tokens(backend, 1, 4);
    const other = initModel({ ...tinyConfigs["olmoe"], vocab_size: 14 }, randomKey(1), { backend });
    await expect(quantizationError(ready, other, ids)).rejects.toThrow(ConfigError);
    const none = backend.tensor(new Int32Array(0), { shape: [0, 4] });
    await expect(quantizationError(ready, ready, none)).rejects.toThrow(ConfigError);
    const { norm } = ready.params;
    const bad = backend.tensor(new Float32Array(norm.size).fill(Number.NaN));
    const diverged = { ...ready, params: { ...ready.params, norm: bad } };
    await expect(quantizationError(ready, diverged, ids)).rejects.toThrow(NumericError);
  });
});

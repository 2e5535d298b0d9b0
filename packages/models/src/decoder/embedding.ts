import {
  ConfigError,
  type FloatDType,
  type Leaf,
  type ProductFormat,
  type Tensor,
  cast,
  dequantize,
  gatherRows,
  isFloat,
  isQuantized,
  storedFormat,
  valueShape,
} from "@moiety/core";

/** How the numbers of an embedding are read. */
export interface EmbeddingReading {
  /** Of the numbers. */
  readonly dtype: FloatDType;
  /** Format in which the table is held. Floats unless given. */
  readonly format?: ProductFormat | undefined;
}

/**
 * Rows `[…, H]` of a table `[V, H]` at `ids […]`. Of a table in halves or codes only those rows become
 * numbers of `dtype`.
 * @throws ConfigError where codes have no format, or a format no codes
 */
export function embed(table: Leaf, ids: Tensor, { dtype, format }: EmbeddingReading): Tensor {
  if (isQuantized(table) !== (format !== undefined)) {
    throw new ConfigError(
      "an embedding in codes and a format need each other; use parameters of the same configuration",
      "format",
      format,
    );
  }
  if (!isQuantized(table)) {
    const rows = gatherRows(table, ids);
    return isFloat(rows.dtype) ? rows : cast(rows, { dtype });
  }
  const stored = storedFormat(format as ProductFormat);
  const [codes, scales] = [gatherRows(table.codes, ids), gatherRows(table.scales, ids)];
  const shape = valueShape(codes.shape, stored);
  return dequantize(codes, scales, { format: stored, shape, dtype });
}

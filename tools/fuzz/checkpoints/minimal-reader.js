// Reads what a folder says in the plainest way, to hold the library's answers against. It trusts
// everything: only what the library has accepted is read with it.

/** @typedef {ReadonlyMap<string, Uint8Array>} Files a folder: bytes by file name */
/** @typedef {{ dtype: string, shape: number[], bytes: Uint8Array }} Plain a tensor of a file */

const text = new TextDecoder();

/**
 * All tensors of a folder, by name.
 *
 * @param {Files} files
 * @returns {Map<string, Plain>}
 */
export function readFolder(files) {
  const single = files.get("model.safetensors");
  if (single) return readFile(single);
  const index = readJson(files, "model.safetensors.index.json");
  const tensors = new Map();
  for (const [name, file] of Object.entries(index.weight_map)) {
    const bytes = files.get(String(file));
    const tensor = bytes && readFile(bytes).get(name);
    if (!tensor) throw new Error(`the index is wrong about ${name}`);
    tensors.set(name, tensor);
  }
  return tensors;
}

/**
 * The values of a JSON file. Python writes numbers that are none, which are nothing here.
 *
 * @param {Files} files
 * @param {string} file
 */
export function readJson(files, file) {
  const found = text.decode(files.get(file));
  return JSON.parse(found.replaceAll(/([:,[]\s*)(?:NaN|-?Infinity)/g, "$1null"));
}

/**
 * @param {Uint8Array} bytes
 * @returns {Map<string, Plain>}
 */
function readFile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(text.decode(bytes.subarray(8, end)));
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  return new Map(
    names.map((name) => {
      const { dtype, shape, data_offsets: range } = header[name];
      return [name, { dtype, shape, bytes: bytes.subarray(end + range[0], end + range[1]) }];
    }),
  );
}

/**
 * A tensor's values, as the definitions of the dtypes have it.
 *
 * @param {Plain} tensor
 * @returns {number[]}
 */
export function valuesOf({ dtype, bytes }) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [width, read] = READERS[dtype] ?? [];
  if (!width || !read) throw new Error(`there is no ${dtype}`);
  return Array.from({ length: bytes.length / width }, (_, index) => read(view, index * width));
}

/** @type {Record<string, [number, (view: DataView, at: number) => number]>} */
const READERS = {
  F64: [8, (view, at) => view.getFloat64(at, true)],
  F32: [4, (view, at) => view.getFloat32(at, true)],
  F16: [2, (view, at) => float(view.getUint16(at, true), 5, 10, true)],
  BF16: [2, (view, at) => float(view.getUint16(at, true), 8, 7, true)],
  F8_E5M2: [1, (view, at) => float(view.getUint8(at), 5, 2, true)],
  F8_E4M3: [1, (view, at) => float(view.getUint8(at), 4, 3, false)],
  I64: [8, (view, at) => Number(view.getBigInt64(at, true))],
  U64: [8, (view, at) => Number(view.getBigUint64(at, true))],
  I32: [4, (view, at) => view.getInt32(at, true)],
  U32: [4, (view, at) => view.getUint32(at, true)],
  I16: [2, (view, at) => view.getInt16(at, true)],
  U16: [2, (view, at) => view.getUint16(at, true)],
  I8: [1, (view, at) => view.getInt8(at)],
  U8: [1, (view, at) => view.getUint8(at)],
  BOOL: [1, (view, at) => view.getUint8(at)],
};

/**
 * @param {number} bits
 * @param {number} exponentBits
 * @param {number} mantissaBits
 * @param {boolean} ieee whether it has infinities
 */
function float(bits, exponentBits, mantissaBits, ieee) {
  const highest = 2 ** exponentBits - 1;
  const mantissa = bits % 2 ** mantissaBits;
  const exponent = Math.floor(bits / 2 ** mantissaBits) % 2 ** exponentBits;
  const sign = bits >= 2 ** (exponentBits + mantissaBits) ? -1 : 1;
  const bias = (highest - 1) / 2;
  if (exponent === highest && ieee) return mantissa === 0 ? sign * Infinity : Number.NaN;
  if (exponent === highest && mantissa === 2 ** mantissaBits - 1) return Number.NaN;
  const fraction = mantissa / 2 ** mantissaBits;
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias);
}

const F4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/**
 * A matrix as a model has it, whose values may be held as codes and scales.
 *
 * @param {ReadonlyMap<string, Plain>} tensors
 * @param {string} name
 * @param {readonly number[] | undefined} blockSize of F8 with factors
 * @returns {number[]}
 */
export function matrixOf(tensors, name, blockSize) {
  const plain = tensors.get(name);
  if (!plain) return microscaled(tensors, name);
  const values = valuesOf(plain);
  const factors = tensors.get(`${name}_scale_inv`);
  if (!blockSize || !plain.dtype.startsWith("F8") || !factors) return values;
  const scales = valuesOf(factors);
  const [height = 1, width = 1] = blockSize;
  const columns = plain.shape[1] ?? 1;
  const across = Math.ceil(columns / width);
  return values.map((value, index) => {
    const row = Math.floor(Math.floor(index / columns) / height);
    return value * (scales[row * across + Math.floor((index % columns) / width)] ?? Number.NaN);
  });
}

/**
 * MXFP4 of rows that are the columns of the matrix.
 *
 * @param {ReadonlyMap<string, Plain>} tensors
 * @param {string} name
 */
function microscaled(tensors, name) {
  const codes = tensors.get(`${name}_blocks`);
  const scales = tensors.get(`${name}_scales`);
  if (!codes || !scales) throw new Error(`there is no ${name}`);
  const [rows = 0] = codes.shape;
  const columns = (codes.bytes.length * 2) / rows;
  return Array.from({ length: rows * columns }, (_, index) => {
    const at = (index % rows) * columns + Math.floor(index / rows);
    const byte = codes.bytes[at >> 1] ?? 0;
    const code = at % 2 === 0 ? byte & 15 : byte >> 4;
    const sign = code & 8 ? -1 : 1;
    return sign * (F4[code & 7] ?? 0) * 2 ** ((scales.bytes[at >> 5] ?? 0) - 127);
  });
}

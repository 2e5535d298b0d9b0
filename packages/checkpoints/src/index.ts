/**
 * Safetensors and the Hugging Face layout, on bytes wherever they come from. Host arrays only: no
 * tensors, no backends.
 * @packageDocumentation
 */
export {
  type BlobLike,
  type BlobPart,
  type ByteSource,
  blobSource,
  bytesSource,
} from "./source.ts";

export { type SafetensorsDtype, safetensorsBytes, safetensorsDtypes } from "./safetensors/dtype.ts";
export type {
  SafetensorsMetadata,
  TensorInfo,
  TensorReader,
  TensorView,
} from "./safetensors/info.ts";
export {
  type SafetensorsLayout,
  type TensorShape,
  layoutSafetensors,
} from "./safetensors/layout.ts";
export { type SafetensorsFile, openSafetensors } from "./safetensors/read.ts";
export {
  type SafetensorsStream,
  type TensorEntry,
  copyEntries,
  encodeSafetensors,
  streamSafetensors,
} from "./safetensors/write.ts";

export { type Checkpoint, openFolder } from "./folder/checkpoint.ts";
export {
  type DirectoryLike,
  type FileFolder,
  type FileHandleLike,
  type FileLike,
  type OpenFile,
  directoryFolder,
  filesFolder,
} from "./folder/folder.ts";
export {
  type AbortLike,
  type BodyLike,
  type Fetcher,
  type HeadersLike,
  type HttpOptions,
  type RequestLike,
  type ResponseLike,
  httpFolder,
  httpSource,
} from "./folder/http.ts";

export { toHost } from "./host/decode.ts";
export { hostEntry } from "./host/encode.ts";
export type { HostTensor } from "./host/tensor.ts";

export {
  type JsonDocument,
  type JsonObject,
  type JsonValue,
  jsonDocument,
  parseJsonDocument,
} from "./json/document.ts";
export { formatJsonDocument } from "./json/format.ts";

export { type Pieces, type TensorBinding, type TensorPart, bindRules } from "./mapping/bind.ts";
export {
  CheckpointMismatchError,
  type MappingReport,
  type MissingTensor,
  type MisshapedTensor,
  checkTensors,
  requireMatch,
} from "./mapping/check.ts";
export type { HeldInfo } from "./mapping/held.ts";
export { readPath } from "./mapping/read.ts";
export type { RuleSizes, TensorRule, TensorStorage } from "./mapping/rule.ts";
export { splitPath } from "./mapping/split.ts";
export { storedBytes } from "./mapping/stored.ts";
export { type PathTarget, type StreamOptions, streamPath } from "./mapping/stream.ts";

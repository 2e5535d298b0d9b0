/**
 * Files and folders for `@moiety/checkpoints`, in Node.
 * @packageDocumentation
 */
export { fileSource } from "./node/file-source.ts";
export { makeFolder } from "./node/make-folder.ts";
export { diskFolder, openCheckpoint } from "./node/open-checkpoint.ts";
export { type CheckpointContent, saveCheckpoint } from "./node/save-checkpoint.ts";
export { writeSafetensors } from "./node/write-safetensors.ts";

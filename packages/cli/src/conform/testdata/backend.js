export { default } from "@moiety/backend-cpu";

/** Loses nothing: the oracle has no device. */
export async function loseDevice(backend) {
  await backend.sync();
}

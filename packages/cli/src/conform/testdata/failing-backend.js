import { cpuDriver } from "@moiety/backend-cpu";
import { defineBackend } from "@moiety/core";

/** A backend whose `unary` gives wrong numbers. */
export default async function create() {
  const driver = cpuDriver();
  return defineBackend(new Proxy(driver, { get: (_, key) => valueOf(driver, key) }));
}

function valueOf(driver, key) {
  if (key === "run") return (call) => spoil(call, driver.run(call));
  const value = driver[key];
  return typeof value === "function" ? value.bind(driver) : value;
}

function spoil(call, handles) {
  const [first] = handles;
  if (call.op.name === "unary" && first.byteLength > 0) new Uint8Array(first.block)[0] ^= 0xff;
  return handles;
}

import { cpuDriver } from "@moiety/backend-cpu";
import { defineBackend } from "@moiety/core";

/** A backend whose capabilities contradict each other. */
export default async function create() {
  const driver = cpuDriver();
  const capabilities = { ...driver.capabilities, determinism: "none" };
  return defineBackend(new Proxy(driver, { get: (_, key) => valueOf(driver, key, capabilities) }));
}

function valueOf(driver, key, capabilities) {
  if (key === "capabilities") return capabilities;
  const value = driver[key];
  return typeof value === "function" ? value.bind(driver) : value;
}

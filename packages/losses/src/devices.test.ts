import { ConfigError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import {
  deepseekCommunicationBalance,
  deepseekDeviceBalance,
  deepseekExpertBalance,
} from "./index.ts";
import { draws, f64, i32, route, total, towards } from "./testing/routings.ts";

const coefficient = 1;
const logits = f64(draws(3, 40), [5, 8]);
const routing = route({ experts: 8, k: 3, logits });

/** The two losses by hand, from what a routing says. */
async function byHand(
  ofExpert: readonly number[],
  most: number,
): Promise<{ device: number; communication: number }> {
  const [experts, k, tokens] = [8, 3, 5];
  const chosen = [...(await routing.selected.read())];
  const scores = [...(await routing.scores.read())];
  const devices = Math.max(...ofExpert) + 1;
  let [device, communication] = [0, 0];
  for (let d = 0; d < devices; d++) {
    const members = ofExpert.flatMap((id, expert) => (id === d ? [expert] : []));
    const f = members.map((e) => (experts / (k * tokens)) * chosen.filter((c) => c === e).length);
    const sent = Array.from({ length: tokens }, (_, t) =>
      chosen.slice(t * k, t * k + k).some((e) => ofExpert[e] === d),
    ).filter(Boolean).length;
    const p = total(
      members.map(
        (e) => total(Array.from({ length: tokens }, (_, t) => scores[t * 8 + e] ?? 0)) / tokens,
      ),
    );
    device += (total(f) / members.length) * p;
    communication += (devices / (most * tokens)) * sent * p;
  }
  return { device, communication };
}

describe("losses over devices", () => {
  it.each([
    { devices: 4, ofExpert: [0, 0, 1, 1, 2, 2, 3, 3], most: 3 },
    { devices: 2, ofExpert: [0, 0, 0, 0, 1, 1, 1, 1], most: 2 },
    { devices: 1, ofExpert: [0, 0, 0, 0, 0, 0, 0, 0], most: 1 },
    { devices: [1, 0, 2, 0, 1, 1, 2, 0], ofExpert: [1, 0, 2, 0, 1, 1, 2, 0], most: 3 },
  ])("are as their formulas, devices $devices", async ({ devices, ofExpert, most }) => {
    const wanted = await byHand(ofExpert, most);
    const device = deepseekDeviceBalance({ coefficient, devices });
    expect(await device.evaluate([routing]).item()).toBeCloseTo(wanted.device, 12);
    const communication = deepseekCommunicationBalance({ coefficient, devices });
    expect(await communication.evaluate([routing]).item()).toBeCloseTo(wanted.communication, 12);
    const one = deepseekCommunicationBalance({ coefficient, devices, maxDevices: 1 });
    expect(await one.evaluate([routing]).item()).toBeCloseTo(wanted.communication * most, 12);
  });

  it("are the expert's where each expert has its own device", async () => {
    const devices = 8;
    const wanted = await deepseekExpertBalance({ coefficient }).evaluate([routing]).item();
    for (const loss of [
      deepseekDeviceBalance({ coefficient, devices }),
      deepseekCommunicationBalance({ coefficient, devices }),
    ]) {
      expect(await loss.evaluate([routing]).item()).toBeCloseTo(wanted, 12);
    }
  });

  it("count a token once for a device, and one without an expert nowhere", async () => {
    const base = route({ experts: 4, k: 2, logits: towards([0, 0], 4, 0) });
    const communication = deepseekCommunicationBalance({ coefficient, devices: 2, maxDevices: 1 });
    const together = { ...base, selected: i32([0, 1, 2, 3], [2, 2]) };
    // Even probabilities: 2/(1·2) · (1 · 1/2 + 1 · 1/2).
    expect(await communication.evaluate([together]).item()).toBeCloseTo(1, 12);
    const apart = { ...base, selected: i32([0, 2, 1, 3], [2, 2]) };
    expect(await communication.evaluate([apart]).item()).toBeCloseTo(2, 12);
    const fewer = { ...base, selected: i32([0, 4, 4, 4], [2, 2]) };
    expect(await communication.evaluate([fewer]).item()).toBeCloseTo(0.5, 12);
    const device = deepseekDeviceBalance({ coefficient, devices: 2 });
    expect(await device.evaluate([fewer]).item()).toBeCloseTo(0.25, 12);
  });

  it("refuse devices that make no sense", () => {
    const make = (devices: unknown): unknown =>
      deepseekDeviceBalance({ coefficient, devices: devices as number });
    for (const devices of [0, -1, 1.5, Number.NaN, [], [0, 2], [0, -1], [0.5, 1], "two"]) {
      expect(() => make(devices)).toThrow(ConfigError);
    }
    expect(() => make([0, 2])).toThrow(/device 1 has no expert/);
    const loss = deepseekDeviceBalance({ coefficient, devices: 3 });
    expect(() => loss.evaluate([routing])).toThrow(/3 devices do not divide 8 experts/);
    const short = deepseekCommunicationBalance({ coefficient, devices: [0, 1] });
    expect(() => short.evaluate([routing])).toThrow(/names 2 experts/);
    for (const maxDevices of [0, 1.5]) {
      expect(() => deepseekCommunicationBalance({ coefficient, devices: 2, maxDevices })).toThrow(
        /maxDevices/,
      );
    }
    const many = deepseekCommunicationBalance({ coefficient, devices: 2, maxDevices: 3 });
    expect(() => many.evaluate([routing])).toThrow(/at most the 2 devices/);
  });
});

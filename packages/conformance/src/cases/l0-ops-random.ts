import {
  type Shape,
  hostBits,
  hostNormal,
  hostUniform,
  normal,
  randomBits,
  sizeOf,
  uniform,
} from "@moiety/core";
import type { ConformanceCase } from "../case.ts";
import { contractCase } from "./l0-support.ts";

const DRAWS: readonly Shape[] = [[], [0], [1], [2], [3], [129], [5, 13], [3, 0], [2049], [70_003]];

/** Cases of the random ops. */
export const randomCases: readonly ConformanceCase[] = [
  contractCase(
    "random/bits",
    "randomBits gives the words of Threefry 2×32, equal to the host's to the bit",
    [randomBits],
    ["u32"],
    async (test) => {
      const keys = [test.random.key(), [0, 0], [0xffffffff, 0xffffffff]] as const;
      for (const key of keys) {
        for (const shape of DRAWS) {
          const { y } = await test.observe({}, ({ backend }) => ({
            y: randomBits(backend, { key, shape }),
          }));
          test.same(`[${shape}]`, y.data, hostBits(key, sizeOf(shape)));
        }
      }
    },
  ),
  contractCase(
    "random/uniform",
    "uniform gives 24 bits of Threefry in [0, 1), equal to the host's to the bit",
    [uniform],
    ["f32"],
    async (test) => {
      for (const shape of DRAWS) {
        const key = test.random.key();
        const { y } = await test.observe({}, ({ backend, float: dtype }) => ({
          y: uniform(backend, { key, shape, dtype }),
        }));
        test.same(`[${shape}]`, y.data, Float32Array.from(hostUniform(key, sizeOf(shape))));
      }
    },
  ),
  contractCase(
    "random/normal",
    "normal gives the normal quantiles of Threefry's bits, within the tolerance",
    [normal],
    ["f32"],
    async (test) => {
      for (const shape of DRAWS) {
        const key = test.random.key();
        await test.compare({}, ({ backend, float: dtype }) => ({
          [`[${shape}]`]: normal(backend, { key, shape, dtype }),
        }));
      }
    },
  ),
  contractCase(
    "random/normal-moments",
    "normal draws have mean 0, variance 1 and the host's values in their tails",
    [normal],
    ["f32"],
    async (test) => {
      const key = test.random.key();
      const { y } = await test.observe({}, ({ backend, float: dtype }) => ({
        y: normal(backend, { key, shape: [100_000], dtype }),
      }));
      const host = hostNormal(key, 100_000);
      const values = Float64Array.from(y.data);
      const mean = values.reduce((sum, value) => sum + value, 0) / 100_000;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 100_000;
      test.expect(Math.abs(mean) < 0.02, `the mean of 100 000 draws is ${mean}`);
      test.expect(Math.abs(variance - 1) < 0.03, `the variance of 100 000 draws is ${variance}`);
      const widest = host.reduce(
        (best, value, index) => (Math.abs(value) > Math.abs(host[best] ?? 0) ? index : best),
        0,
      );
      const [got = 0, wanted = 0] = [y.data[widest], host[widest]];
      test.expect(
        Math.abs(got - wanted) <= 1e-5 * Math.abs(wanted),
        `draw ${widest}, the furthest out, is ${got} instead of ${wanted}`,
      );
    },
  ),
];

import { describe, expect, it } from "vitest";
import { introduction } from "./introduction.ts";
import { newSettings } from "./settings.ts";
import { loadText } from "./text.ts";

describe("introduction", () => {
  it("says what is trained on what", () => {
    const settings = { ...newSettings({}), text: null, textDigest: "" };
    const lines = introduction({ settings, text: loadText(null, 128) });
    expect(lines).toEqual([
      expect.stringMatching(/^text: typescript .*; 14 domains, \d\.\d+ M bytes for training$/),
      expect.stringMatching(
        /^sparse: 3 layers of 16 experts, 2 for a byte by mixtralRouter, balance switch; 1\.91 M parameters, 362 k active/,
      ),
      expect.stringMatching(/^dense: .*width 256 .*; 358 k parameters, 358 k active/),
      expect.stringMatching(/^hash: .*; 1\.91 M parameters, 358 k active/),
    ]);
  });
});

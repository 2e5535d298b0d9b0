import { describe, expect, it } from "vitest";
import { archiveOf, parseTargets } from "./apt.js";

const listed = `
https://elsewhere.example/tools/|bookworm|main
https://elsewhere.example/tools/|bookworm|stable
http://archive.example/debian/|bookworm|main
http://archive.example/debian/|bookworm|main
http://archive.example/debian/|bookworm|contrib
http://archive.example/debian/|bookworm-updates|main
http://archive.example/debian/|bookworm-backports|main
http://archive.example/security/|bookworm-security|main
not a target
`;

describe("archiveOf", () => {
  it("takes the archive that has updates, and leaves backports out", () => {
    expect(archiveOf(parseTargets(listed), "bookworm")).toEqual({
      address: "http://archive.example/debian/",
      suites: ["bookworm", "bookworm-updates"],
    });
  });

  it("takes the first that has the release where none has updates", () => {
    const targets = parseTargets("http://archive.example/|sid|main");
    expect(archiveOf(targets, "sid")).toEqual({
      address: "http://archive.example/",
      suites: ["sid"],
    });
  });

  it("says so when there is none", () => {
    expect(() => archiveOf(parseTargets(listed), "trixie")).toThrow("do not name the distribution");
  });
});

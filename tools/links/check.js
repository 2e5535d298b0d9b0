import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

const passed = new Set(["node_modules", "dist", "api", "runs", "coverage"]);

/**
 * Follows every link from one Markdown file of the repository to another place in it.
 *
 * @param {string} root
 * @returns {string[]} one line for each link that leads nowhere
 */
export function checkLinks(root) {
  return markdownFiles(root).flatMap((file) =>
    linksIn(readFileSync(file, "utf8"))
      .filter(({ target }) => !leadsSomewhere(file, target))
      .map(({ target, line }) => {
        const path = relative(root, file).split(sep).join("/");
        return `${path}:${line}: "${target}" leads nowhere`;
      }),
  );
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function markdownFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return passed.has(entry.name) || entry.name.startsWith(".") ? [] : markdownFiles(path);
    }
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

/**
 * Links within the repository; what stands in code is none.
 *
 * @param {string} text
 * @returns {{ target: string, line: number }[]}
 */
export function linksIn(text) {
  const prose = withoutCode(text);
  return [...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)/gm)]
    .map((match) => ({
      target: match[1] ?? match[2] ?? "",
      line: prose.slice(0, match.index).split("\n").length,
    }))
    .filter(({ target }) => !/^[a-z][a-z0-9+.-]*:/i.test(target));
}

/**
 * @param {string} file
 * @param {string} target
 */
function leadsSomewhere(file, target) {
  const [path = "", anchor = ""] = target.split("#");
  const place = path === "" ? file : join(dirname(file), decodeURIComponent(path));
  if (!existsSync(place)) return false;
  if (anchor === "" || !place.endsWith(".md")) return true;
  return anchorsIn(readFileSync(place, "utf8")).includes(anchor);
}

/**
 * The anchors that a host makes of headings.
 *
 * @param {string} text
 */
export function anchorsIn(text) {
  return [...withoutFences(text).matchAll(/^#{1,6}\s+(.+)$/gm)].map(([, heading = ""]) =>
    heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  );
}

/** @param {string} text */
function withoutCode(text) {
  return withoutFences(text).replace(/`[^`\n]*`/g, blank);
}

/** @param {string} text */
function withoutFences(text) {
  return text.replace(/^(```|~~~)[\s\S]*?^\1/gm, blank);
}

/** @param {string} text */
function blank(text) {
  return text.replace(/[^\n]/g, " ");
}

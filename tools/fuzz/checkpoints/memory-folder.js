/** @typedef {import("./minimal-reader.js").Files} Files */
/** @typedef {import("@moiety/checkpoints").FileFolder} FileFolder */

/**
 * A folder in memory that takes note of what is asked of it.
 *
 * @param {Files} files
 * @returns {FileFolder & { readonly faults: string[], readonly opened: number }}
 */
export function memoryFolder(files) {
  /** @type {string[]} */
  const faults = [];
  let opened = 0;
  return {
    name: "folder",
    faults,
    get opened() {
      return opened;
    },
    nameOf: (file) => `folder/${file}`,
    async open(file) {
      if (/[/\\:\0]/.test(file) || file === ".." || file === ".") {
        faults.push(`asked for the file ${JSON.stringify(file)}`);
      }
      const bytes = files.get(file);
      if (!bytes) return undefined;
      opened++;
      let isOpen = true;
      return {
        name: `folder/${file}`,
        size: bytes.length,
        async read(offset, length) {
          if (!isOpen) faults.push(`read ${file} after it was closed`);
          if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) {
            faults.push(`read ${length} bytes at ${offset} of ${file}, which has ${bytes.length}`);
          }
          return bytes.slice(offset, offset + length);
        },
        async close() {
          if (isOpen) opened--;
          isOpen = false;
        },
      };
    },
  };
}

/**
 * Tests and what helps them, which lies in `testing` or, of the kit, in `meta`: none of it is shipped.
 *
 * @param {string} file a path below `src`
 */
export function isTest(file) {
  return /\.test\.[cm]?tsx?$/.test(file) || /(^|[\\/])(testing|meta)[\\/]/.test(file);
}

/**
 * Tests, benchmarks and what helps them, which lies in `testing`: none of it is shipped.
 *
 * @param {string} file a path below `src`
 */
export function isTest(file) {
  return /\.(test|bench)\.[cm]?tsx?$/.test(file) || /(^|[\\/])testing[\\/]/.test(file);
}

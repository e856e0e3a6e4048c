/**
 * Assertions, all of them strict. `node:assert/strict` of this runtime gives loose ones under the names `equal` and
 * `deepEqual` when they are imported by name (`equal("1", 1)` passes), so the strict ones are given those names here.
 *
 * @module
 */
export {
  deepStrictEqual as deepEqual,
  doesNotMatch,
  doesNotReject,
  doesNotThrow,
  fail,
  match,
  notDeepStrictEqual as notDeepEqual,
  notStrictEqual as notEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

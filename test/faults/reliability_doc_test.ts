import { deepEqual, equal, ok } from "@std/assert";
import { isCurrent, unproven } from "../../tools/reliability.ts";

Deno.test("docs/reliability.md says what the tests say", () => {
  ok(isCurrent(), "run `deno task reliability --write`");
  equal(isCurrent("<!-- tables: x -->\n| a | b |\n<!-- /tables -->"), false);
});

Deno.test("every promise of docs/reliability.md names a test that exists", () => {
  deepEqual(unproven(), []);
  const made = { injected: "", promise: "", file: "test/hca/abi_test.ts", test: "no such test" };
  deepEqual(unproven([made]), ['test/hca/abi_test.ts has no test "no such test"']);
});

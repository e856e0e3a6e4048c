import { equal, throws } from "@std/assert";
import { COPIES, version, withVersion } from "./version.ts";

for (const [file, place] of COPIES) {
  Deno.test(`${file} has the version of deno.json at ${place}`, () => {
    const { is, should } = withVersion(file, place, version());
    equal(is, should, "run deno task version");
  });
}

Deno.test("withVersion() refuses a file that has no place for it", () => {
  throws(() => withVersion("LICENSE", /(never there )\d/, "1.2.3"), /LICENSE has no version/);
});

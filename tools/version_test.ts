import { deepEqual, equal, throws } from "@std/assert";
import { globSync, readFileSync, statSync } from "node:fs";
import { ROOT } from "../test/support/root.ts";
import { copies, denoVersion, withVersion } from "./version.ts";

for (const [file, place, wanted] of copies()) {
  Deno.test(`${file} has the version of its source at ${place}`, () => {
    const { is, should } = withVersion(file, place, wanted);
    equal(is, should, "run deno task version");
  });
}

Deno.test("no other file names a version of Deno, where it would be forgotten", () => {
  const allowed = new Set([
    ".dvmrc",
    ...copies().map(([file]) => file),
    "CHANGELOG.md",
    // What was measured, with the version that it was measured on.
    "docs/performance.md",
    "docs/reliability.md",
    // Which versions have the fault that it keeps away.
    "src/kubelet/http2_goaway.ts",
  ]);
  const places = "{.ci/*,.github/**/*.yml,Dockerfile,*.{md,json,yml},{docs,deploy,src,sim,test,tools,bench}/**/*.*}";
  const files = globSync(places, { cwd: ROOT }).filter((file) => statSync(`${ROOT}${file}`).isFile());
  const wanted = new RegExp(`(?<![\\d.])${denoVersion().replaceAll(".", "\\.")}(?![\\d.])`);
  deepEqual(files.filter((file) => !allowed.has(file) && wanted.test(readFileSync(`${ROOT}${file}`, "utf8"))), []);
});

Deno.test("withVersion() refuses a file that has no place for it", () => {
  throws(() => withVersion("LICENSE", /(never there )\d/, "1.2.3"), /LICENSE has no version/);
});

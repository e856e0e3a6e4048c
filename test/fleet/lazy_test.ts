import { deepEqual, ok } from "@std/assert";
import { loadedWith, ROOT } from "../support/loaded_with.ts";

Deno.test("only fleet loads what is fleet's, and what reads kubeconfigs", () => {
  const own = (path: string) =>
    [...loadedWith(path)].map((one) => one.replace(ROOT.href, ""))
      .filter((one) => /^src\/fleet\/|^src\/kubernetes\/(kubeconfig|exec_credential|reflector|pages)/.test(one));
  ok(own("src/cli/fleet.ts").length > 10, "the walk through the imports works");
  for (const path of ["mod.ts", "src/cli/run.ts", "src/cli/list.ts", "src/cli/doctor.ts", "src/dra/open.ts"]) {
    deepEqual(own(path), [], path);
  }
});

Deno.test("fleet loads nothing that drives a machine", () => {
  const loaded = [...loadedWith("src/cli/fleet.ts")].map((one) => one.replace(ROOT.href, ""));
  deepEqual(loaded.filter((one) => /^src\/(device_plugin|doctor|observe\/metrics)|grpc/.test(one)), []);
});

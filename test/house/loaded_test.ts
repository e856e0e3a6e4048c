import { deepEqual, ok } from "@std/assert";
import { loadedWith } from "./loaded_with.ts";

Deno.test("a plugin without --http, DRA, events and labels loads nothing of them", () => {
  const loaded = loadedWith("src/cli/run.ts");
  ok(loaded.includes("src/agent/dra_side.ts"), "the walk through the imports works");
  // Reading the flags takes the address from the environment; that is all.
  deepEqual(loaded.filter((one) => /^src\/(dra|kubernetes|report)\//.test(one)), ["src/kubernetes/access.ts"]);
  deepEqual(loaded.filter((one) => /prom-client|hono|status_server|node:http$/.test(one)), []);
});

Deno.test("the DRA driver loads the schema library only for a claim with parameters", () => {
  const loaded = loadedWith("src/dra/open.ts");
  ok(loaded.includes("src/dra/claims.ts"), "the walk through the imports works");
  deepEqual(loaded.filter((one) => /zod|rdma_config/.test(one)), []);
});

Deno.test("only fleet loads what is fleet's, and what reads kubeconfigs, and it loads nothing that drives a machine", () => {
  const own = (path: string) =>
    loadedWith(path)
      .filter((one) => /^src\/fleet\/|^src\/kubernetes\/(kubeconfig|exec_credential|reflector|pages)/.test(one));
  ok(own("src/cli/fleet.ts").length > 10, "the walk through the imports works");
  for (const path of ["mod.ts", "src/cli/run.ts", "src/cli/list.ts", "src/cli/doctor.ts", "src/dra/open.ts"]) {
    deepEqual(own(path), [], path);
  }
  const loaded = loadedWith("src/cli/fleet.ts");
  deepEqual(loaded.filter((one) => /^src\/(device_plugin|doctor|observe\/metrics)|grpc/.test(one)), []);
});

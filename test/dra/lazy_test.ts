import { deepEqual, ok } from "@std/assert";
import { loadedWith, ROOT } from "../support/loaded_with.ts";

Deno.test("a plugin without DRA, events and labels loads nothing of them", () => {
  const loaded = [...loadedWith("src/cli/run.ts")].map((one) => one.replace(ROOT.href, ""));
  ok(loaded.includes("src/agent/dra_side.ts"), "the walk through the imports works");
  // Reading the flags takes the address from the environment; that is all.
  deepEqual(loaded.filter((one) => /^src\/(dra|kubernetes|report)\//.test(one)), ["src/kubernetes/access.ts"]);
});

Deno.test("the DRA driver loads the schema library only for a claim with parameters", () => {
  const loaded = [...loadedWith("src/dra/open.ts")];
  ok(loaded.some((one) => one.endsWith("src/dra/claims.ts")));
  deepEqual(loaded.filter((one) => /zod|rdma_config/.test(one)), []);
});

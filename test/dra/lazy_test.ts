import { deepEqual, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../", import.meta.url);

interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly isDynamic?: boolean;
    }[];
  }[];
}

/** What is loaded with a module, without what it imports only when it gets there. */
function loadedWith(path: string): ReadonlySet<string> {
  const start = new URL(path, ROOT);
  const { stdout, stderr, status } = spawnSync(execPath, ["info", "--json", fileURLToPath(start)], {
    encoding: "utf8",
  });
  ok(status === 0, stderr);
  const byName = new Map((JSON.parse(stdout) as Info).modules.map((one) => [one.specifier, one]));
  const seen = new Set<string>();
  const next = [start.href];
  for (let one = next.pop(); one !== undefined; one = next.pop()) {
    if (seen.has(one)) continue;
    seen.add(one);
    for (const { code, isDynamic } of byName.get(one)?.dependencies ?? []) {
      if (code?.specifier !== undefined && isDynamic !== true) next.push(code.specifier);
    }
  }
  return seen;
}

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

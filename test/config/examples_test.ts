import { deepEqual, equal } from "@std/assert";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { formatMistakes, loadConfig } from "../../src/config/mod.ts";
import type { Config } from "../../src/config/mod.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/config/", import.meta.url));

async function example(name: string): Promise<Config> {
  const result = await loadConfig(EXAMPLES + name);
  if (!result.ok) throw new Error(`${name} is refused: ${JSON.stringify(result.mistakes)}`);
  return result.config;
}

Deno.test("loadConfig() takes every example, and only the SR-IOV one has warnings", async () => {
  for (const name of readdirSync(EXAMPLES)) {
    const { warnings } = await example(name);
    equal(warnings.length > 0, name === "sriov-network-device-plugin.json", `${name}: ${formatMistakes(warnings)}`);
  }
});

Deno.test("loadConfig() gives the default resource for a file that says only its name", async () => {
  const config = await example("one-resource.yaml");
  deepEqual(config, { format: "own", resources: [DEFAULT_SPEC], rescanSeconds: null, warnings: [] });
});

Deno.test("a migrated config asks for the same as the peer's config that it comes from", async () => {
  for (
    const [format, to] of [
      ["shared-device-plugin", "migrated-from-shared.yaml"],
      ["sriov-network-device-plugin", "migrated-from-sriov.yaml"],
    ] as const
  ) {
    const before = await example(`${format}.json`);
    const after = await example(to);
    equal(before.format, format);
    deepEqual(after.resources, before.resources);
    equal(after.rescanSeconds, before.rescanSeconds);
  }
});

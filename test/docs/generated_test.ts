/**
 * The parts of the documents that are made of the sources. `deno task docs` runs this with UPDATE_GOLDEN=1, which
 * writes them.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { flagTable } from "../../src/cli/help.ts";
import { MISTAKE_CODES } from "../../src/config/mistake_codes.ts";
import { jsonSchema, referenceTables } from "../../src/config/reference.ts";
import { metricsTable } from "../../src/observe/metrics_table.ts";
import { CHANGE_CODES, LEFT_OUT_CODES, UNHEALTHY_CODES } from "../../src/pool/reasons.ts";
import { SESSION_CODES } from "../../src/device_plugin/session_codes.ts";
import { reliabilityTables, unproven } from "../faults/reliability.ts";
import { goldenFile } from "../support/golden.ts";
import { goldenSection } from "../support/section.ts";

function codeTables(): string {
  const table = (title: string, codes: Readonly<Record<string, string>>) => {
    const rows = Object.entries(codes).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`);
    return [`${title}:`, "", "| code | meaning |", "| --- | --- |", ...rows, ""].join("\n");
  };
  return [
    table("Devices that are Unhealthy", UNHEALTHY_CODES),
    table("Devices that changed, besides these", CHANGE_CODES),
    table("HCAs that are left out of a resource", LEFT_OUT_CODES),
    table("Sessions with the kubelet", SESSION_CODES),
    table("Mistakes of a configuration file or a command line", MISTAKE_CODES),
  ].join("\n");
}

const SECTIONS = [
  ["README.md", "flags", flagTable],
  ["docs/configuration.md", "reference", referenceTables],
  ["docs/metrics.md", "metrics", metricsTable],
  ["docs/troubleshooting.md", "codes", codeTables],
  ["docs/reliability.md", "tables", reliabilityTables],
] as const;

for (const [document, name, text] of SECTIONS) {
  Deno.test(`the part "${name}" of ${document} says what the sources say`, () => goldenSection(document, name, text()));
}

Deno.test("schema/config.schema.json is the schema that the parser uses", () => {
  goldenFile("schema/config.schema.json", jsonSchema());
});

Deno.test("every promise of docs/reliability.md names a test that exists", () => {
  deepEqual(unproven(), []);
  const made = { injected: "", promise: "", file: "test/hca/abi_test.ts", test: "no such test" };
  deepEqual(unproven([made]), ['test/hca/abi_test.ts has no test "no such test"']);
});

/**
 * `deno task audit`: asks the npm registry whether any package of deno.lock has a known vulnerability, and says of each
 * whether its code is in the bundle. Ends with status 0 when there is none, 1 when there are, 2 when the registry could
 * not be asked: silence is no answer. `NPM_CONFIG_REGISTRY` names another registry.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process, { execPath } from "node:process";
import { ROOT } from "../test/support/root.ts";

/** What came out. */
export interface Outcome {
  readonly status: 0 | 1 | 2;
  /** For people, with a line end. */
  readonly text: string;
}

/** What `deno audit` says, as an outcome. Whatever is neither "none" nor a list of vulnerabilities is no answer. */
export function outcome(status: number | null, output: string, bundled: readonly string[]): Outcome {
  if (status === 0 && /no known vulnerabilities/i.test(output)) {
    return { status: 0, text: "No known vulnerabilities in the packages of deno.lock.\n" };
  }
  const affected = [...new Set([...output.matchAll(/^│ Package:\s+(\S+)/gm)].map(([, name]) => name!))];
  if (status !== 0 && affected.length > 0) {
    const where = affected.map((name) =>
      `${name}: ${bundled.includes(name) ? "in the bundle, so in every image" : "used to build or test, not shipped"}\n`
    );
    return { status: 1, text: `${output.trim()}\n\n${where.join("")}` };
  }
  const reason = output.trim().split("\n", 1)[0] || `deno audit ended with ${status} and said nothing`;
  return {
    status: 2,
    text: `NOT AUDITED. The registry could not be asked for known vulnerabilities: ${reason}\n` +
      "Nothing is known about the packages now. Run this where the registry's advisories can be reached.\n",
  };
}

/** The packages of the bundle, from the notices, which a test compares with the bundle: this has to work without a cache. */
function bundledNames(): readonly string[] {
  const file = readFileSync(new URL("../THIRD_PARTY_NOTICES.txt", import.meta.url), "utf8");
  return [...file.matchAll(/^ {2}(\S+) \d\S* +\S/gm)].map(([, name]) => name!);
}

if (import.meta.main) {
  const { status, stdout, stderr } = spawnSync(execPath, ["audit"], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  const { status: code, text } = outcome(status, `${stdout}${stderr}`, bundledNames());
  (code === 0 ? process.stdout : process.stderr).write(text);
  process.exit(code);
}

/**
 * What is said about a configuration or a command line, as its codes.
 *
 * @module
 */
import type { ConfigResult } from "../../src/config/mod.ts";
import type { Mistake, Problem } from "../../src/config/mistakes.ts";

/** "resources[0].mode unknown-value" for each mistake, or for each warning of what is accepted. */
export function codesOf(said: ConfigResult | readonly Problem[]): string[] {
  const all = "ok" in said ? said.ok ? said.config.warnings : said.mistakes : said;
  return all.map(({ path, code }) => `${path} ${code}`.trimStart());
}

/** A warning about a configuration. */
export const IGNORED_KEY: Mistake = {
  file: "c.json",
  line: 3,
  column: 5,
  path: "pf_range",
  code: "unknown-key",
  message: "unknown key",
  hint: null,
};

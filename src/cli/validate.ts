/**
 * `validate`: reads a configuration file and prints its mistakes or its resources, without any other effect.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { formatMistakes, loadConfig } from "../config/mod.ts";
import type { Mode } from "../pool/spec.ts";
import { counted } from "../text/counted.ts";
import { print } from "../text/print.ts";
import type { Values } from "./flags.ts";
import { UsageError } from "./machine.ts";

/** Returns status 0 for a valid file, 2 for mistakes: one per line on standard error, or in the JSON object. */
export async function validate(path: string | undefined, values: Values): Promise<number> {
  if (path === undefined) {
    throw new UsageError([{
      code: "missing",
      path: "FILE",
      message: "validate needs a file: validate FILE",
      hint: null,
    }]);
  }
  const prefix = values["resource-prefix"];
  const result = await loadConfig(path, prefix === undefined ? {} : { resourcePrefix: prefix });
  const { format, resources, warnings } = result.ok ? result.config : { format: null, resources: [], warnings: [] };
  if (values.json) {
    const named = resources.map(({ name, mode }) =>
      mode.kind === "exclusive"
        ? { name, mode: mode.kind }
        : { name, mode: mode.kind, shares: mode.shares, share: mode.of }
    );
    const mistakes = result.ok ? [] : result.mistakes;
    print(`${JSON.stringify({ file: path, valid: result.ok, format, resources: named, mistakes, warnings })}\n`);
    return result.ok ? 0 : 2;
  }
  if (!result.ok) throw new UsageError(result.mistakes);
  for (const warning of warnings) writeSync(2, `${formatMistakes([warning])}\n`);
  const lines = resources.map(({ name, mode }) => `  ${name} (${modeText(mode)})\n`);
  print(`${path} is valid (${format} format) and defines ${counted(resources.length, "resource")}:\n${lines.join("")}`);
  return 0;
}

function modeText(mode: Mode): string {
  return mode.kind === "exclusive" ? "exclusive" : `shared, ${mode.shares} shares, ${mode.of}`;
}

/**
 * `validate`: reads a configuration file and prints its mistakes or its resources, without any other effect.
 *
 * @module
 */
import { writeSync } from "node:fs";
import { formatMistakes, loadConfig } from "../config/mod.ts";
import type { Values } from "./flags.ts";
import { UsageError } from "./machine.ts";

/** Returns status 0 for a valid file, 2 for mistakes, which are printed one per line on standard error. */
export async function validate(path: string | undefined, values: Values): Promise<number> {
  if (path === undefined) throw new UsageError("validate needs a file: validate FILE");
  const prefix = values["resource-prefix"];
  const result = await loadConfig(path, prefix === undefined ? {} : { resourcePrefix: prefix });
  if (!result.ok) throw new UsageError(formatMistakes(result.mistakes));
  for (const warning of result.config.warnings) writeSync(2, `${warning}\n`);
  const { resources, format } = result.config;
  const lines = resources.map((spec) => {
    const mode = spec.mode.kind === "exclusive" ? "exclusive" : `shared, ${spec.mode.shares} shares, ${spec.mode.of}`;
    return `  ${spec.name} (${mode})\n`;
  });
  writeSync(1, `${path} is valid (${format} format) and defines ${resources.length} resources:\n${lines.join("")}`);
  return 0;
}

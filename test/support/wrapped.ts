/**
 * The real plugin inside something: a tracer, a namespace, a limit. The process that the test holds is the plugin itself,
 * so its signals and its `/proc` are the plugin's.
 *
 * @module
 */
import { execPath } from "node:process";
import { pluginCommand, pluginFlags, PluginProcess } from "../../sim/mod.ts";
import type { OnHost } from "./plugin.ts";

/** Starts a plugin on that host by `wrapper`, which gets the plugin's command as its last words and must exec it. */
export function startIn(wrapper: readonly string[], place: OnHost, flags: readonly string[]): PluginProcess {
  return new PluginProcess([...wrapper, ...pluginCommand(), ...pluginFlags(place.host, place.kubeletDir), ...flags]);
}

/** As {@link startIn}, the bundle that is shipped instead of the sources, and without a cache, as in the image. */
export function startBundle(
  bundle: string,
  wrapper: readonly string[],
  place: OnHost,
  flags: readonly string[],
): PluginProcess {
  const image = ["env", "DENO_DIR=/nonexistent", "DENO_NO_UPDATE_CHECK=1", "DENO_NO_PROMPT=1", ...wrapper];
  const program = [execPath, "run", "-A", "--quiet", bundle];
  return new PluginProcess([...image, ...program, ...pluginFlags(place.host, place.kubeletDir), ...flags]);
}

/** Runs the rest in a shell after this line of script. */
export function afterScript(script: string): readonly string[] {
  return ["sh", "-c", `${script}; exec "$0" "$@"`];
}

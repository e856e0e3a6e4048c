/**
 * The real plugin inside something: a tracer, a namespace, a limit. The process that the test holds is the plugin itself,
 * so its signals and its `/proc` are the plugin's.
 *
 * @module
 */
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { pluginFlags, PluginProcess } from "../../sim/mod.ts";
import type { OnHost } from "./plugin.ts";

const EXEC = fileURLToPath(new URL("./exec.ts", import.meta.url));
const MOD = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));

/** Starts a plugin on that host by `wrapper`, which gets the plugin's command as its last words and must exec it. */
export function startIn(wrapper: readonly string[], place: OnHost, flags: readonly string[]): PluginProcess {
  const program = ["run", "-A", "--quiet", "--no-check", "--config", CONFIG, MOD];
  return become([...wrapper, execPath, ...program, ...pluginFlags(place.host, place.kubeletDir), ...flags]);
}

/** As {@link startIn}, the bundle that is shipped instead of the sources, and without a cache, as in the image. */
export function startBundle(
  bundle: string,
  wrapper: readonly string[],
  place: OnHost,
  flags: readonly string[],
): PluginProcess {
  const image = ["env", "DENO_DIR=/nonexistent", "DENO_NO_UPDATE_CHECK=1", "DENO_NO_PROMPT=1", ...wrapper];
  const program = ["run", "-A", "--quiet", bundle];
  return become([...image, execPath, ...program, ...pluginFlags(place.host, place.kubeletDir), ...flags]);
}

/** What stands before the program's own file is meant for the runtime; a file there is run instead of it. */
function become(command: readonly string[]): PluginProcess {
  return new PluginProcess([], () => {}, [EXEC, JSON.stringify(command)]);
}

/** Runs the rest in a shell after this line of script. */
export function afterScript(script: string): readonly string[] {
  return ["sh", "-c", `${script}; exec "$0" "$@"`];
}

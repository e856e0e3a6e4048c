/**
 * What is measured: our plugin as the image runs it, or another one by its command or its socket. Each is started
 * anew for every run.
 *
 * @module
 */
import { symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import process, { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { type FakeHost, pluginFlags, PluginProcess } from "../../sim/mod.ts";
import { register } from "../../src/device_plugin/registration.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { run } from "./run.ts";

/** Where a subject finds the world that it is put into. */
export interface World {
  readonly host: FakeHost;
  readonly kubeletDir: string;
  /** An empty directory for whatever it writes. */
  readonly scratch: string;
}

/** A subject that runs. */
export interface Running {
  /** null when it is somebody else's process. */
  readonly pid: number | null;
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

export interface Subject {
  /** "plugin", or how the other one is called in tables. */
  readonly name: string;
  /** The resource that it registers; null when that is not known beforehand: whatever comes that is not ours. */
  readonly resource: string | null;
  /** Whether the subject's process is started by us, so that starts can be timed. */
  readonly startable: boolean;
  /** Whether it registers again when the kubelet has restarted. */
  readonly returns: boolean;
  start(world: World, ...flags: readonly string[]): Promise<Running>;
}

/** What the image gives V8. */
export const V8_FLAGS = "--max-semi-space-size=1,--heap-growing-percent=10,--no-maglev";

/**
 * The bundle under Deno as the image starts it, without the sandbox: the fake host is not where the permission set has
 * its paths.
 *
 * @param v8 V8's flags, separated by commas; "" for its defaults
 */
export function plugin(bundle: string, v8 = V8_FLAGS, env: Readonly<Record<string, string>> = {}): Subject {
  return ours(["run", "-A", "--quiet", "--no-config", ...flagOf(v8), bundle], env);
}

function flagOf(v8: string): readonly string[] {
  return v8 === "" ? [] : [`--v8-flags=${v8}`];
}

function ours(command: readonly string[], env: Readonly<Record<string, string>>): Subject {
  return {
    name: "plugin",
    resource: DEFAULT_SPEC.name,
    startable: true,
    returns: true,
    start: ({ host, kubeletDir, scratch }, ...flags) =>
      launch(
        [execPath, ...command, ...pluginFlags(host, kubeletDir), "--cdi-dir", join(scratch, "cdi"), ...flags],
        env,
      ),
  };
}

/** The reference in Go, built first. */
export function reference(directory: string): Subject {
  const program = join(directory, "reference");
  run("go", ["build", "-buildvcs=false", "-o", program, "."], {
    cwd: fileURLToPath(new URL("../../bench/reference/", import.meta.url)),
    env: { ...process.env, GOTOOLCHAIN: "local", CGO_ENABLED: "0" },
  });
  const resource = "example.com/reference";
  return {
    name: "reference",
    resource,
    startable: true,
    returns: true,
    start: ({ kubeletDir }) => launch([program, kubeletDir, resource]),
  };
}

/** Any other plugin: `{kubelet}`, `{sysfs}` and `{dev}` in its command become directories; it is run by `sh -c`. */
export function byCommand(command: string): Subject {
  return {
    name: "other",
    resource: null,
    startable: true,
    returns: true,
    start: ({ host, kubeletDir }) => {
      const filled = command.replaceAll("{kubelet}", kubeletDir).replaceAll("{sysfs}", host.sysfsRoot)
        .replaceAll("{dev}", host.devRoot);
      return launch(["/bin/sh", "-c", `exec ${filled}`]);
    },
  };
}

/** A plugin that runs already and serves on this socket: it is made known to the kubelet, and not ended. */
export function bySocket(socket: string): Subject {
  const resource = "example.com/other";
  return {
    name: "other",
    resource,
    startable: false,
    // What made it known was us, once.
    returns: false,
    async start({ kubeletDir }) {
      const endpoint = "other.sock";
      symlinkSync(resolve(socket), join(kubeletDir, endpoint));
      await register(join(kubeletDir, "kubelet.sock"), resource, endpoint, new AbortController().signal);
      return { pid: null, stop: () => Promise.resolve() };
    },
  };
}

function launch(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Running> {
  const plugin = new PluginProcess(command, { env: { ...process.env, ...env } });
  let stopping = false;
  // Whoever waits for something the process should do finds out by a time-out; the reason is told when it is stopped.
  const early = plugin.ended.then(() => !stopping);
  return Promise.resolve({
    pid: plugin.pid,
    stop: async () => {
      stopping = true;
      await plugin.stop();
      if (await early) throw new Error(`${command[0]} ended by itself:\n${plugin.log.slice(-50).join("\n")}`);
    },
  });
}

/**
 * The real plugin process on a fake host, for tests that bring a kubelet of their own.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { FakeHost, pluginFlags, type PluginProcess, preset, startPlugin } from "../../sim/mod.ts";
import { temporaryDir } from "./temp.ts";

export interface OnHost extends AsyncDisposable {
  readonly dir: string;
  readonly kubeletDir: string;
  readonly host: FakeHost;
  /** Starts a plugin; every one that still runs is ended with the test. */
  start(...flags: string[]): PluginProcess;
  /** Runs another command of the program on the same host. */
  ask(command: string, ...flags: string[]): PluginProcess;
}

/** A host of that preset and a directory for a kubelet. */
export function onHost(name: string): OnHost {
  const dir = temporaryDir();
  const kubeletDir = join(dir.path, "device-plugins");
  mkdirSync(kubeletDir);
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset(name));
  const started: PluginProcess[] = [];
  const run = (flags: readonly string[]) => {
    const plugin = startPlugin(flags);
    started.push(plugin);
    return plugin;
  };
  return {
    dir: dir.path,
    kubeletDir,
    host,
    start: (...flags) => run([...pluginFlags(host, kubeletDir), ...flags]),
    ask: (command, ...flags) => {
      const roots = ["--sysfs-root", host.sysfsRoot, "--dev-root", host.devRoot, "--kubelet-dir", kubeletDir];
      return run([command, ...roots, ...flags]);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((plugin) => plugin.stop()));
      host.close();
      dir[Symbol.dispose]();
    },
  };
}

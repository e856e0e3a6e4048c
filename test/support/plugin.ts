/**
 * The real plugin process on a fake host, for tests that bring a kubelet of their own.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { FakeHost, pluginFlags, PluginProcess, preset } from "../../sim/mod.ts";
import { temporaryDir } from "./temp.ts";

export interface OnHost extends AsyncDisposable {
  readonly dir: string;
  readonly kubeletDir: string;
  readonly host: FakeHost;
  /** Starts a plugin; every one that still runs is ended with the test. */
  start(...flags: string[]): PluginProcess;
}

/** A host of that preset and a directory for a kubelet. */
export function onHost(name: string): OnHost {
  const dir = temporaryDir();
  const kubeletDir = join(dir.path, "device-plugins");
  mkdirSync(kubeletDir);
  const host = FakeHost.create(FakeHost.temporaryRoot(), preset(name));
  const started: PluginProcess[] = [];
  return {
    dir: dir.path,
    kubeletDir,
    host,
    start(...flags) {
      const plugin = new PluginProcess([...pluginFlags(host, kubeletDir), ...flags]);
      started.push(plugin);
      return plugin;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((plugin) => plugin.stop()));
      host.close();
      dir[Symbol.dispose]();
    },
  };
}

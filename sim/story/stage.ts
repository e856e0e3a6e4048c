/**
 * The stage of a scenario: a fake host, a fake kubelet, the real plugin between them, and the actions that change them.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeHost } from "../host/host.ts";
import { preset } from "../host/presets.ts";
import { FakeKubelet } from "../kubelet/kubelet.ts";
import { pluginFlags, type PluginProcess, startPlugin } from "./plugin_process.ts";
import { DraStage } from "./dra_stage.ts";
import type { Scenario, Step } from "./scenario.ts";
import { socketParent } from "../host/temporary.ts";

/** The host, the kubelet and the plugin. */
export class Stage {
  readonly dir: string;
  readonly host: FakeHost;
  readonly kubelet: FakeKubelet;
  readonly flags: readonly string[];
  readonly dra: DraStage | null;
  plugin: PluginProcess | null = null;
  readonly #onLine: (line: string) => void;
  readonly #configPath: string;

  private constructor(
    dir: string,
    host: FakeHost,
    dra: DraStage | null,
    scenario: Scenario,
    onLine: (line: string) => void,
  ) {
    this.dir = dir;
    this.dra = dra;
    this.host = host;
    this.#onLine = onLine;
    this.#configPath = join(dir, "config.yaml");
    const kubeletDir = join(dir, "kubelet/device-plugins");
    const registry = join(dir, "kubelet/plugins_registry");
    const cdiDir = join(dir, "cdi");
    mkdirSync(cdiDir);
    const watcher = scenario.watcher || dra !== null;
    if (watcher) mkdirSync(registry, { recursive: true });
    this.kubelet = new FakeKubelet({
      dir: kubeletDir,
      cdiDirs: [cdiDir],
      ...watcher ? { pluginsRegistry: registry } : {},
      ...dra === null ? {} : {
        podResourcesSocket: join(dir, "kubelet/pod-resources/kubelet.sock"),
        dra: { wipe: () => dra.wipe() },
      },
    });
    const config = scenario.config === undefined ? [] : ["--config", this.#configPath];
    if (scenario.config !== undefined) this.writeConfig(scenario.config);
    this.flags = [
      ...pluginFlags(host, kubeletDir),
      "--cdi-dir",
      cdiDir,
      ...dra?.flags(dir) ?? [],
      ...config,
      ...scenario.flags,
    ];
  }

  static async set(scenario: Scenario, onLine: (line: string) => void): Promise<Stage> {
    const dir = mkdtempSync(join(socketParent(), "rdma-sim-"));
    const host = await FakeHost.create(FakeHost.temporaryRoot(), preset(scenario.host));
    const dra = scenario.dra ? await DraStage.set(dir) : null;
    return new Stage(dir, host, dra, scenario, onLine);
  }

  /** Performs the action of a step without checking its effect. Pods are admitted elsewhere. */
  async act(step: Step): Promise<void> {
    const { host } = this;
    if (step.port !== undefined) {
      const { hca, number, to } = step.port;
      if (to === "up") await host.portUp(hca, number);
      else if (to === "down") await host.portDown(hca, number);
      else if (to === "init") await host.portInit(hca, number);
      else await host.carrierLost(hca, number);
    }
    if (step.counter !== undefined) {
      const { hca, port, file, to } = step.counter;
      // The kernel tells no one that a counter has changed.
      await host.setAttribute(hca, `ports/${port}/${file}`, String(to), { quiet: true });
    }
    if (step.hca !== undefined) {
      const { name, to, as, uverbs } = step.hca;
      if (to === "gone") await host.removeHca(name);
      else if (to === "back") await host.restoreHca(name, uverbs === undefined ? {} : { uverbs });
      else await host.renameHca(name, as ?? `${name}_new`);
    }
    if (step.swapNodes !== undefined) await host.swapUverbs(...step.swapNodes);
    if (step.vfs !== undefined) {
      await host.removeVfs(step.vfs.pf);
      if (step.vfs.count > 0) await host.addVfs(step.vfs.pf, step.vfs.count);
    }
    if (step.release !== undefined) this.kubelet.release(step.release);
    if (step.refuse !== undefined) this.kubelet.refuse(step.refuse.reason, { times: step.refuse.times });
    if (step.config !== undefined) this.writeConfig(step.config);
    if (step.unclaim !== undefined) await this.dra!.unclaim(this.kubelet, step.unclaim);
    if (step.api === "down") await this.dra!.api.down();
    if (step.api === "up") await this.dra!.api.up();
    if (step.kubelet === "start") await this.kubelet.start();
    if (step.kubelet === "stop") await this.kubelet.stop();
    if (step.kubelet === "restart") await this.kubelet.restart();
    if (step.plugin === "start") this.plugin = startPlugin(this.flags, this.#onLine);
    else if (step.plugin !== undefined) this.plugin?.kill(step.plugin);
  }

  /** Replaces the plugin's configuration file as editors do. */
  writeConfig(config: unknown): void {
    // JSON is YAML
    writeFileSync(`${this.#configPath}.new`, JSON.stringify(config, null, 2));
    renameSync(`${this.#configPath}.new`, this.#configPath);
  }

  /** Stops the plugin and, unless `keep` is set, everything else. */
  async close(keep = false): Promise<void> {
    await this.plugin?.stop();
    this.plugin = null;
    if (keep) return;
    await this.kubelet.close();
    await this.dra?.api.close();
    await this.host.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

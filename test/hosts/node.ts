/**
 * A built machine as a node: what `list --json` says about it, and the plugin between it and a fake kubelet.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Agent } from "../../src/agent/agent.ts";
import { Inspector } from "../../src/cli/inspector.ts";
import { parseCommandLine, type Values } from "../../src/cli/flags.ts";
import { asJson } from "../../src/cli/list.ts";
import { wanted } from "../../src/cli/machine.ts";
import type { Mistake } from "../../src/config/mod.ts";
import type { ResourceSpec } from "../../src/pool/spec.ts";
import { FakeKubelet } from "../../sim/mod.ts";
import { memoryDir } from "../support/temp.ts";
import { agentOptions } from "../support/world.ts";
import { buildHost, type BuiltHost, type HostPlan, readPlan } from "./build.ts";

/** A machine and a kubelet; the plugin on it can be started again and again. */
export interface Node extends AsyncDisposable {
  readonly dir: string;
  readonly host: BuiltHost;
  readonly kubelet: FakeKubelet;
  readonly kubeletDir: string;
  readonly cdiDir: string;
  readonly specs: readonly ResourceSpec[];
  /** Warnings of the configuration file. */
  readonly warnings: readonly Mistake[];
  /** Everything that the plugins logged. */
  readonly log: readonly string[];
  /** The plugin that runs now. */
  readonly agent: Agent;
  /** What `list --json` prints. */
  list(): Promise<ReturnType<typeof asJson>>;
  /** Ends the plugin and starts another one, which knows nothing but what is on disk. */
  restart(): Promise<void>;
}

export interface NodeOptions {
  /** `"30/host.json"`, or a plan. */
  readonly host: string | HostPlan;
  /** `"30/sriov.json"`, or the text of a file; without it the plugin's own default. */
  readonly config?: string | undefined;
  /** Further flags, such as `--master ens1f0`. */
  readonly flags?: readonly string[] | undefined;
  /** Changes the tree before the plugin sees it. */
  readonly prepare?: ((host: BuiltHost) => void) | undefined;
}

/** Flags as the command line would give them. */
function valuesOf(flags: readonly string[]): Values {
  const parsed = parseCommandLine(["list", "--json", ...flags], {});
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.values;
}

/** Builds the machine, starts the kubelet, then the plugin. */
export async function node(options: NodeOptions): Promise<Node> {
  const dir = memoryDir();
  const plan = typeof options.host === "string" ? readPlan(options.host) : options.host;
  const host = buildHost(plan, join(dir.path, "host"));
  options.prepare?.(host);
  const kubeletDir = join(dir.path, "kubelet/device-plugins");
  const config = options.config === undefined ? [] : [`--config=${configFile(options.config, dir.path)}`];
  const values = valuesOf([
    `--sysfs-root=${host.sysfs}`,
    `--dev-root=${host.dev}`,
    `--kubelet-dir=${kubeletDir}`,
    ...config,
    ...options.flags ?? [],
  ]);
  const { specs, warnings } = await wanted(values);
  const kubelet = new FakeKubelet({ dir: kubeletDir, cdiDirs: [join(dir.path, "cdi")] });
  await kubelet.start();
  const log: string[] = [];
  const start = () =>
    Agent.start({ ...agentOptions(dir.path, { sysfs: host.sysfs, dev: host.dev }, log), specs, sources: [] });
  let agent = await start();
  return {
    dir: dir.path,
    host,
    kubelet,
    kubeletDir,
    cdiDir: join(dir.path, "cdi"),
    specs,
    warnings,
    log,
    get agent() {
      return agent;
    },
    async list() {
      // The program tells libibverbs by the environment where sysfs is, which programs of later tests would inherit.
      const before = process.env.SYSFS_PATH;
      using inspector = new Inspector(values, specs);
      try {
        return asJson(await inspector.scan("full"), null);
      } finally {
        if (before === undefined) delete process.env.SYSFS_PATH;
        else process.env.SYSFS_PATH = before;
      }
    },
    async restart() {
      await agent.close();
      agent = await start();
    },
    async [Symbol.asyncDispose]() {
      await agent.close();
      await kubelet.close();
      dir[Symbol.dispose]();
    },
  };
}

function configFile(config: string, dir: string): string {
  if (/^[\w/.-]+$/.test(config)) return path(config);
  const file = join(dir, config.startsWith("{") ? "config.json" : "config.yaml");
  writeFileSync(file, config);
  return file;
}

/** A file of this directory. */
export function path(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

/** `{"rdma/hca": "4/3"}`: devices and how many of them are healthy, by resource. */
export type Counts = Readonly<Record<string, string>>;

/** What the kubelet has. */
export function kubeletCounts(kubelet: FakeKubelet): Counts {
  const all = Object.values(kubelet.state().resources);
  return Object.fromEntries(all.map((one) => [one.name, `${one.capacity}/${one.allocatable}`] as const).sort());
}

/** What `list --json` says. */
export function listCounts(json: ReturnType<typeof asJson>): Counts {
  return Object.fromEntries(
    json.resources.map(({ name, devices }) => {
      return [name, `${devices.length}/${devices.filter((one) => one.healthy).length}`] as const;
    }).sort(),
  );
}

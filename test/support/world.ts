/**
 * A fake host, a fake kubelet, and the agent between them in this process: the whole flow without starting anything.
 *
 * @module
 */
import { join } from "node:path";
import { Agent, type AgentObserver, type AgentOptions } from "../../src/agent/agent.ts";
import { fileSource } from "../../src/hca/events/file_source.ts";
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import { noVerbs } from "../../src/hca/verbs.ts";
import { SILENT } from "../../src/text/log.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/pool/spec.ts";
import { FakeHost, FakeKubelet, type FakeKubeletOptions, preset } from "../../sim/mod.ts";
import type { HostDescription } from "../../sim/mod.ts";
import { memoryDir } from "./temp.ts";

export interface World extends AsyncDisposable {
  readonly dir: string;
  readonly host: FakeHost;
  readonly kubelet: FakeKubelet;
  readonly agent: Agent;
  /** Everything that was logged. */
  readonly log: readonly string[];
}

/** Short times, so that settling and grace are over soon. */
export const QUICK_HEALTH = { ...DEFAULT_SPEC.health, settleMs: 5, graceMs: 30 };

export interface WorldOptions {
  readonly host: string | HostDescription;
  readonly specs?: readonly ResourceSpec[];
  readonly agent?: Partial<AgentOptions>;
  readonly kubelet?: Partial<FakeKubeletOptions>;
  /** False: the kubelet is down until `kubelet.start()`. */
  readonly kubeletUp?: boolean;
  /** Made when the host is there and the agent is not. */
  readonly observer?: (host: FakeHost) => AgentObserver | Promise<AgentObserver>;
}

/** Starts all three; the kubelet is up before the agent. */
export async function world(options: WorldOptions): Promise<World> {
  const dir = memoryDir();
  const host = FakeHost.create(
    join(dir.path, "host"),
    typeof options.host === "string" ? preset(options.host) : options.host,
  );
  const kubeletDir = join(dir.path, "kubelet/device-plugins");
  const kubelet = new FakeKubelet({ dir: kubeletDir, cdiDirs: [join(dir.path, "cdi")], ...options.kubelet });
  if (options.kubeletUp !== false) await kubelet.start();
  const log: string[] = [];
  const agent = await Agent.start({
    ...agentOptions(dir.path, { sysfs: host.sysfsRoot, dev: host.devRoot }, log),
    specs: options.specs ?? [{ ...DEFAULT_SPEC, health: QUICK_HEALTH }],
    sources: [fileSource(host.eventsFile)],
    ...options.agent,
  }, await options.observer?.(host));
  return {
    dir: dir.path,
    host,
    kubelet,
    agent,
    log,
    async [Symbol.asyncDispose]() {
      await agent.close();
      await kubelet.close();
      host.close();
      dir[Symbol.dispose]();
    },
  };
}

/** Options of an agent on a fake machine whose kubelet is below `dir`, with short times; it logs into `log`. */
export function agentOptions(dir: string, roots: { readonly sysfs: string; readonly dev: string }, log: string[]) {
  const say = (message: string) => void log.push(message);
  return {
    kubeletDir: join(dir, "kubelet/device-plugins"),
    registryDir: join(dir, "kubelet/plugins_registry"),
    registration: "socket",
    cdiDir: join(dir, "cdi"),
    rescanMs: 0,
    machine: {
      roots,
      verbs: noVerbs({ kind: "not-asked", detail: "test" }),
      netnsMode: () => readNetnsMode(roots.sysfs, { fake: true }),
    },
    log: { ...SILENT, info: say, warn: say, error: say },
    timing: { firstRetryMs: 20, maxRetryMs: 100, streamTimeoutMs: 1_000, drainTimeoutMs: 500 },
    collectMs: 20,
  } satisfies Partial<AgentOptions>;
}

/** Devices of a resource as the kubelet has them: "mlx5_0:Healthy". */
export function seen(kubelet: FakeKubelet, resource = DEFAULT_SPEC.name): string[] {
  return (kubelet.state().resources[resource]?.devices ?? []).map((device) => `${device.id}:${device.health}`).sort();
}

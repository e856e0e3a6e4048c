/**
 * The scene of a fault that has nothing to do with the kubelet: a node that works, to which something is done, and that
 * has to work again afterwards. What every such fault must leave behind is asserted here, once.
 *
 * @module
 */
import { equal, ok } from "@std/assert";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type FakeKubelet, type PluginProcess } from "../../sim/mod.ts";
import { socketName } from "../../src/kubelet/socket_file.ts";
import { fakeKubelet, offered, RESOURCE } from "../support/kubelet.ts";
import { openFiles } from "../support/process_figures.ts";
import { type OnHost, onHost } from "../support/plugin.ts";
import { within } from "../support/temp.ts";
import { eventually } from "../support/eventually.ts";

/** What one fault is done to. */
export interface Scene {
  readonly place: OnHost;
  readonly kubelet: FakeKubelet;
  readonly plugin: PluginProcess;
  /** Where the plugin serves. */
  readonly socket: string;
  /** Lines logged since the fault began. */
  said(): readonly string[];
  /** Resolves when the kubelet counts so many devices that can be had. */
  devices(count: number): Promise<void>;
  /** The kubelet gives a container this HCA, by a bare call; the node's path on the host, or the CDI name. */
  allocate(hca: string): Promise<string | undefined>;
}

/** How a scene is set. */
export interface Setting {
  readonly preset?: string;
  readonly flags?: readonly string[];
  /** Starts the plugin; for those that need another world around the process. Default: `place.start(...flags)`. */
  readonly start?: (place: OnHost, flags: readonly string[]) => PluginProcess;
  /** Around the plugin's directories, from before the kubelet starts until after its end. */
  readonly mount?: (place: OnHost) => Disposable;
  /** Whether Allocate answers with CDI names, not nodes. */
  readonly cdi?: boolean;
  /** How many lines the fault and the recovery may make, and no more. */
  readonly lines: number;
}

/** The presets that faults are tried on: which devices, and one of them with its node. */
const PRESETS: Readonly<Record<string, { devices: number; hca: string; node: string }>> = {
  "connectx-ib-dual": { devices: 1, hca: "mlx5_0", node: "/dev/infiniband/uverbs0" },
  "connectx-roce-vfs": { devices: 10, hca: "mlx5_0", node: "/dev/infiniband/uverbs0" },
};

/**
 * Sets the scene, does the fault, and proves that nothing is left of it: the kubelet's list is whole and its Allocate
 * is answered, every file and socket that was opened is closed again, the log is no flood, SIGTERM ends the process with
 * status 0 and takes its socket away.
 */
export async function underFault(setting: Setting, fault: (scene: Scene) => Promise<void>): Promise<void> {
  const { preset = "connectx-ib-dual", flags = [], lines, mount } = setting;
  const start = setting.start ?? ((place: OnHost, all: readonly string[]) => place.start(...all));
  const whole = PRESETS[preset]!;
  await using place = onHost(preset);
  using _mounted = mount?.(place) ?? null;
  await using kubelet = await fakeKubelet(place.kubeletDir);
  const plugin = start(place, flags);
  const ending = plugin.ended.then(({ code, signal }) => {
    throw new Error(`The plugin ended (${signal ?? code}), having said:\n${plugin.log.join("\n")}`);
  });
  const alive = <T>(work: Promise<T>) => Promise.race([work, ending]);
  const devices = (count: number): Promise<void> =>
    alive(offered(kubelet, count)).catch((error: Error) => {
      throw new Error(`${error.message}\nThe plugin said:\n${plugin.log.join("\n")}`);
    });
  const allocate = async (hca: string) => {
    const [answer] = await alive(kubelet.allocate(RESOURCE, [[hca]]));
    return setting.cdi ? answer?.cdi_devices?.[0]?.name : answer?.devices?.[0]?.host_path;
  };
  const given = setting.cdi ? `${RESOURCE}=${whole.hca}` : whole.node;
  await devices(whole.devices);
  equal(await allocate(whole.hca), given);
  // The list is there before the call that registered has returned.
  for (const line of [/ healthy/, /code=registered/]) await plugin.logged(line);
  const before = openFiles(plugin.pid);
  const logged = plugin.log.length;
  const socket = join(place.kubeletDir, socketName(RESOURCE));
  const said = () => plugin.log.slice(logged);

  await alive(fault({ place, kubelet, plugin, socket, said, devices, allocate }));

  await devices(whole.devices);
  equal(await allocate(whole.hca), given);
  const left = await eventually(() => surplus(openFiles(plugin.pid), before).length === 0, "files to be closed")
    .then(() => [], () => surplus(openFiles(plugin.pid), before));
  equal(left.join(), "", "open files that were not open before the fault");
  ok(said().length <= lines, `more than ${lines} lines:\n${said().join("\n")}`);
  ending.catch(() => {}); // from here on the end is what is wanted
  plugin.kill("SIGTERM");
  const ended = await within(plugin.ended, "the plugin's end");
  equal(ended.code, 0, plugin.log.join("\n"));
  ok(!existsSync(socket), "the socket is gone with the plugin");
  equal(readdirSync(place.kubeletDir).filter((name) => name.includes("rdma")).join(), "");
}

/** What of `now` is more than in `before`, counting equal ones. */
function surplus(now: readonly string[], before: readonly string[]): readonly string[] {
  const left = [...before];
  return now.filter((one) => {
    const at = left.indexOf(one);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

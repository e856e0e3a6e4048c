/**
 * The situations in which a kubelet is recorded. Each is played alike with the real kubelet and with the sim's.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { KUBELET_SOCKET } from "../../../src/kubelet/api.ts";
import { eventually } from "../eventually.ts";
import { healthy, type StubOptions } from "../plugin_stub.ts";
import { type Recorded, type RecordedKubelet, Recorder } from "./recorder.ts";

export interface RecordedSituation {
  readonly name: string;
  play(kubelet: RecordedKubelet, recorder: Recorder): Promise<void>;
}

/** All of a kubelet's doings in all situations, by their names. */
export type Recording = Readonly<Record<string, readonly Recorded[]>>;

/** Of a registration; a kubelet gives its own call within it, GetDevicePluginOptions, what is left of that. */
const REGISTER_MS = 10_000;
const THREE = healthy("a", "b", "c");
/** Wants to be asked about everything. */
const ASKED: StubOptions = {
  devices: THREE,
  prefer: (available, _must, size) => available.slice(0, size),
  preStart: () => {},
};

/** A plugin that has registered and whose devices the node offers. */
async function registered(kubelet: RecordedKubelet, recorder: Recorder, name: string, options: StubOptions) {
  const stub = await recorder.plugin(name, kubelet.pluginDir, { resource: kubelet.resource, ...options });
  recorder.cause(`${name} registers`);
  await stub.register({}, REGISTER_MS);
  await recorder.until("ListAndWatch", 1);
  await kubelet.offers(kubelet.resource, options.devices?.length ?? 2);
  return stub;
}

export const RECORDED: readonly RecordedSituation[] = [
  {
    name: "a plugin registers",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", {});
    },
  },
  {
    name: "a pod asks for some of the devices",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", { devices: THREE });
      recorder.cause("a pod of 2 devices");
      await kubelet.admit("some", kubelet.resource, [2]);
    },
  },
  {
    name: "a pod asks for some of the devices of a plugin that has preferences and prepares containers",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", ASKED);
      recorder.cause("a pod of 2 devices");
      await kubelet.admit("asked", kubelet.resource, [2]);
    },
  },
  {
    name: "a pod asks for all devices of a plugin that has preferences",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", ASKED);
      recorder.cause("a pod of 3 devices");
      await kubelet.admit("all", kubelet.resource, [3]);
    },
  },
  {
    name: "a pod has two containers with devices",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", ASKED);
      recorder.cause("a pod of two containers");
      await kubelet.admit("pair", kubelet.resource, [1, 1]);
    },
  },
  {
    name: "the plugin's list changes",
    async play(kubelet, recorder) {
      const stub = await registered(kubelet, recorder, "one", { devices: THREE });
      recorder.cause("one device less");
      stub.list(healthy("a", "b"));
      await kubelet.offers(kubelet.resource, 2);
    },
  },
  {
    name: "the plugin ends its stream",
    async play(kubelet, recorder) {
      const stub = await registered(kubelet, recorder, "one", {});
      recorder.cause("the stream ends");
      stub.endStreams();
      await kubelet.offers(kubelet.resource, 0);
    },
  },
  {
    name: "a second plugin registers the same resource",
    async play(kubelet, recorder) {
      await registered(kubelet, recorder, "one", {});
      const second = await recorder.plugin("two", kubelet.pluginDir, { resource: kubelet.resource, devices: THREE });
      recorder.cause("two registers");
      await second.register({}, REGISTER_MS);
      await kubelet.offers(kubelet.resource, 3);
    },
  },
  {
    name: "a second plugin has registered the same resource, and the first one's stream ends",
    async play(kubelet, recorder) {
      const first = await registered(kubelet, recorder, "one", {});
      const second = await recorder.plugin("two", kubelet.pluginDir, { resource: kubelet.resource, devices: THREE });
      recorder.cause("two registers");
      await second.register({}, REGISTER_MS);
      await kubelet.offers(kubelet.resource, 3);
      recorder.cause("one ends its stream");
      first.endStreams();
      await recorder.until("the kubelet ends ListAndWatch", 2);
      await kubelet.offers(kubelet.resource, 0);
    },
  },
  {
    name: "a plugin registers with a version that is none",
    async play(kubelet, recorder) {
      const stub = await recorder.plugin("one", kubelet.pluginDir, { resource: kubelet.resource });
      recorder.cause("one registers as v9");
      await refused(recorder, () => stub.register({ version: "v9" }));
    },
  },
  {
    name: "a plugin registers a name that is no extended resource",
    async play(kubelet, recorder) {
      const stub = await recorder.plugin("one", kubelet.pluginDir, { resource: kubelet.resource });
      recorder.cause("one registers as cpu");
      await refused(recorder, () => stub.register({ resource_name: "cpu" }));
    },
  },
  ...(["ends", "is killed"] as const).map((how): RecordedSituation => ({
    name: `the kubelet ${how} and starts again`,
    async play(kubelet, recorder) {
      const stub = await registered(kubelet, recorder, "one", {});
      recorder.cause(`the kubelet ${how}`);
      await kubelet.stop(how);
      await recorder.until("the kubelet ends ListAndWatch", 1);
      recorder.cause("the kubelet starts");
      await kubelet.start();
      await eventually(() => existsSync(join(kubelet.pluginDir, KUBELET_SOCKET)), "the kubelet's socket");
      // It has emptied the directory before it listens.
      await eventually(() => !existsSync(stub.socket), "the end of the plugin's socket");
    },
  })),
  {
    name: "the plugin watcher finds a plugin",
    async play(kubelet, recorder) {
      recorder.cause("a socket appears");
      await recorder.plugin("one", kubelet.registryDir, { resource: kubelet.resource });
      await recorder.until("NotifyRegistrationStatus", 1);
      await kubelet.offers(kubelet.resource, 2);
    },
  },
];

/** Plays all situations with a kubelet; each has a resource of its own. */
export async function record(
  kubelet: (resource: string) => RecordedKubelet,
  done?: (name: string) => void,
): Promise<Recording> {
  const recording: Record<string, readonly Recorded[]> = {};
  for (const [number, { name, play }] of RECORDED.entries()) {
    await using recorder = new Recorder();
    await play(kubelet(`example.com/recorded-${number}`), recorder);
    recording[name] = [...recorder.events];
    done?.(name);
  }
  return recording;
}

/**
 * What must be the same of two kubelets: everything but the times, and the order of what its threads do at once: ends on
 * different connections, and the list of a plugin that the watcher found beside the answer to it.
 */
export function comparable(events: readonly Recorded[]): object[] {
  const ends = (event: Recorded) => event.event === "the kubelet ends ListAndWatch";
  const sorted = events.toSorted((a, b) => ends(a) && ends(b) ? a.plugin.localeCompare(b.plugin) : 0);
  const at = sorted.findIndex(({ event }, index) =>
    event === "NotifyRegistrationStatus" && sorted[index + 1]?.event === "ListAndWatch"
  );
  if (at >= 0) sorted.splice(at, 2, sorted[at + 1]!, sorted[at]!);
  return sorted.map(({ afterMs: _, ...rest }) => rest);
}

async function refused(recorder: Recorder, register: () => Promise<void>): Promise<void> {
  try {
    await register();
  } catch (error) {
    const { code } = error as { code?: number };
    recorder.cause(`refused with code ${code}`);
    return;
  }
  throw new Error("It was accepted");
}

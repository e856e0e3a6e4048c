/**
 * A session on a directory of its own, and kubelets for it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { protoCodec } from "../../src/device_plugin/codec.ts";
import {
  type RegistrationMode,
  Session,
  type SessionNote,
  type SessionStatus,
  type Timing,
} from "../../src/device_plugin/session.ts";
import type { DeviceSource } from "../../src/device_plugin/source.ts";
import { watchDirectory } from "../../src/kubelet/directory_watch.ts";
import { FakeKubelet } from "../../sim/kubelet/kubelet.ts";
import { Waits } from "../../sim/waits.ts";

/** The resource of every session here. */
export const RESOURCE = "example.com/rdma";
const codec = protoCodec();
const TIMING = { firstRetryMs: 20, maxRetryMs: 100, pollMs: 20, drainTimeoutMs: 500 };

/** A resource with a settable list of healthy devices and nothing behind it. */
class Devices implements DeviceSource {
  readonly resource = RESOURCE;
  readonly listeners = new Set<() => void>();
  bytes: Buffer;
  constructor(...ids: string[]) {
    this.bytes = Devices.encode(ids);
  }
  static encode(ids: string[]): Buffer {
    return codec.list(ids.map((id) => ({ id, healthy: true, numaNodes: [] })));
  }
  set(...ids: string[]) {
    this.bytes = Devices.encode(ids);
    for (const listener of this.listeners) listener();
  }
  list = () => this.bytes;
  subscribe(listener: () => void) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  allocate = () => codec.allocateResponse([]);
  prefer = () => codec.preferredResponse([]);
}

/** A session under test. */
export interface Rig extends AsyncDisposable {
  readonly session: Session;
  readonly notes: SessionNote[];
  readonly devices: Devices;
  /** Resolves when the session's status satisfies. */
  status(holds: (status: SessionStatus) => boolean, what: string): Promise<void>;
}

/** A session on a directory, poked as the agent does it. */
export function rig(
  dir: string,
  { mode = "socket", registryDir = join(dir, "../registry"), timing = {} }: {
    readonly mode?: RegistrationMode;
    readonly registryDir?: string;
    readonly timing?: Partial<Timing>;
  } = {},
): Rig {
  const notes: SessionNote[] = [];
  const waits = new Waits();
  const devices = new Devices("a", "b");
  const session = new Session(devices, {
    kubeletDir: dir,
    registryDir,
    mode,
    note: (note) => notes.push(note),
    onStatus: waits.changed,
    events: { onListSent: () => {}, onCall: () => {} },
    timing: { ...TIMING, ...timing },
  });
  const stop = new AbortController();
  watchDirectory(dir, () => session.kubeletDirChanged(), stop.signal, () => {});
  return {
    session,
    notes,
    devices,
    status: async (holds, what) => {
      const message = (reason: string) =>
        `Cannot see ${what}: ${reason}; status ${JSON.stringify(session.status)}, notes ${JSON.stringify(notes)}`;
      await waits.until(() => holds(session.status), message);
    },
    async [Symbol.asyncDispose]() {
      for (const kubelet of kubelets) if (kubelet.dir === dir) await kubelet.stop();
      stop.abort();
      await session.close();
    },
  };
}

/** Those of the test that runs. */
const kubelets = new Set<FakeKubelet & { readonly dir: string }>();

/** A kubelet that is stopped before the sessions of its directory are. */
export function kubeletIn(dir: string, options: Partial<ConstructorParameters<typeof FakeKubelet>[0]> = {}) {
  const kubelet = Object.assign(new FakeKubelet({ dir, ...options }), {
    dir,
    [Symbol.asyncDispose]: async () => {
      kubelets.delete(kubelet);
      await kubelet.close();
    },
  });
  kubelets.add(kubelet);
  return kubelet;
}

/** Pods could be given `n` devices. */
export const offered = (n: number) => (state: ReturnType<FakeKubelet["state"]>) =>
  state.resources[RESOURCE]?.allocatable === n;
/** The kubelet follows the list. */
export const registered = (status: SessionStatus) => status.phase === "registered";

/** How many times the kubelet saw something. */
export function count(kubelet: FakeKubelet, kind: string): number {
  return kubelet.history.filter((event) => event.kind === kind).length;
}

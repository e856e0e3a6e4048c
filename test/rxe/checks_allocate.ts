/**
 * Answers to Allocate, used the way a container would use them.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import type { AdmittedPod } from "../../sim/kubelet.ts";
import { Discovery } from "../../src/hca/discover.ts";
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import { openVerbs } from "../../src/hca/verbs.ts";
import { type Bench, ms, RESOURCE } from "./bench.ts";
import type { Check } from "./checks.ts";
import { finished, start, succeeded } from "./commands.ts";
import { runInside } from "./container.ts";

export const allocationChecks: readonly Check[] = [
  {
    name: "libibverbs and sysfs agree about every HCA",
    async run(bench) {
      using verbs = openVerbs();
      const roots = { sysfs: "/sys", dev: "/dev" };
      const discovery = new Discovery({ roots, verbs, netnsMode: () => readNetnsMode("/sys") });
      const begun = performance.now();
      const { hcas, remarks, verbs: answer } = await discovery.look("full");
      bench.note(`a full look at ${hcas.length} HCAs takes ${ms(performance.now() - begun)}`);
      deepEqual(remarks, []);
      deepEqual(hcas.map(({ name, inVerbs, remarks }) => ({ name, inVerbs, remarks })), [
        { name: "rxe0", inVerbs: true, remarks: [] },
        { name: "rxe1", inVerbs: true, remarks: [] },
      ]);
      if (answer.kind !== "list") throw new Error(`libibverbs answers "${answer.kind}" instead of a list`);
      for (const device of answer.devices) {
        const hca = hcas.find(({ name }) => name === device.name);
        equal(device.guid, hca?.nodeGuid);
        equal(device.uverbs, hca?.uverbs?.name);
        const tool = succeeded(await finished(start(["ibv_devinfo", "-d", device.name])));
        match(tool.stdout, new RegExp(`node_guid:\\s+${device.guid}`));
      }
    },
  },
  {
    name: "a container with the answer's nodes sees its HCA and no other",
    async run(bench) {
      const pod = await admit(bench, "inspector");
      const [id = ""] = pod.ids;
      bench.note(`${id} → ${pod.view.devices.map(({ containerPath }) => containerPath).join(", ")}`);
      equal(pod.view.envs.RDMA_HCAS, id);
      const { stdout } = succeeded(await finished(runInside(pod, ["ibv_devinfo", "-d", id])));
      match(stdout, new RegExp(`hca_id:\\s+${id}`));
      match(stdout, /state:\s+PORT_ACTIVE/);
      const all = succeeded(await finished(runInside(pod, ["ibv_devices"]))).stdout;
      deepEqual(all.match(/rxe\d+/g), [id], all);
      ok(bench.kubelet.release("inspector"));
    },
  },
  {
    name: "RDMA works between two containers with the answers' nodes",
    async run(bench) {
      const [server, client] = [await admit(bench, "server"), await admit(bench, "client")];
      // One HCA each; both are on this machine, so either talks to itself: a loop through its own link.
      for (const pod of [server, client]) {
        const begun = performance.now();
        const said = await pingPong(pod, pod);
        match(said, /1000 iters in/);
        bench.note(`${pod.ids[0]}: ${said.trim().split("\n").at(-1)} (${ms(performance.now() - begun)} in all)`);
      }
      for (const pod of ["server", "client"]) ok(bench.kubelet.release(pod));
    },
  },
];

/** A pod with one device of the resource. */
export function admit(bench: Bench, name: string, mustInclude: readonly string[] = []): Promise<AdmittedPod> {
  return bench.kubelet.admit({ name, resource: RESOURCE, count: 1, mustInclude });
}

/** TCP port over which two ibv_rc_pingpong agree. */
const PORT = 18515;

/** Sends messages between two containers; gives what the client said. */
async function pingPong(serverPod: AdmittedPod, clientPod: AdmittedPod): Promise<string> {
  const command = (pod: AdmittedPod) => ["ibv_rc_pingpong", "-d", pod.view.envs.RDMA_HCAS ?? "", "-g", "0"];
  const server = runInside(serverPod, command(serverPod));
  await listening(PORT);
  const client = await finished(runInside(clientPod, [...command(clientPod), "127.0.0.1"]));
  succeeded(await finished(server));
  return succeeded(client).stdout;
}

/** Resolves when a TCP socket listens on the port. /proc tells no news of itself, so it is asked until then. */
export async function listening(port: number, limitMs = 5_000): Promise<void> {
  // Second column of /proc/net/tcp: address and port in hex; state 0A is LISTEN.
  const row = new RegExp(`^ *\\d+: \\w+:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 0A `, "m");
  const limit = performance.now() + limitMs;
  const listens = () => ["/proc/net/tcp", "/proc/net/tcp6"].some((file) => row.test(readFileSync(file, "utf8")));
  while (!listens()) {
    if (performance.now() > limit) throw new Error(`nobody listens on port ${port} after ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

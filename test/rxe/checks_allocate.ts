/**
 * Answers to Allocate, used the way a container would use them.
 *
 * @module
 */
import { deepEqual, equal, match } from "@std/assert";
import { readFileSync } from "node:fs";
import { Discovery } from "../../src/hca/discover.ts";
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import { openVerbs } from "../../src/hca/verbs.ts";
import { eventually } from "../support/eventually.ts";
import { ms } from "./bench.ts";
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
      const { hcas, notes, verbs: answer } = await discovery.scan("full");
      bench.note(`a full scan at ${hcas.length} HCAs takes ${ms(performance.now() - begun)}`);
      deepEqual(notes, []);
      deepEqual(hcas.map(({ name, inVerbs, notes }) => ({ name, inVerbs, notes })), [
        { name: "rxe0", inVerbs: true, notes: [] },
        { name: "rxe1", inVerbs: true, notes: [] },
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
    run: (bench) =>
      bench.withPod("rxe1", async (pod) => {
        bench.note(`rxe1 → ${pod.view.devices.map(({ containerPath }) => containerPath).join(", ")}`);
        equal(pod.view.envs.RDMA_HCAS, "rxe1");
        const { stdout } = succeeded(await finished(runInside(pod, ["ibv_devinfo", "-d", "rxe1"])));
        match(stdout, /hca_id:\s+rxe1/);
        match(stdout, /state:\s+PORT_ACTIVE/);
        const all = succeeded(await finished(runInside(pod, ["ibv_devices"]))).stdout;
        deepEqual(all.match(/rxe\d+/g), ["rxe1"], all);
      }),
  },
  ...["rxe0", "rxe1"].map((id): Check => ({
    name: `a container with the answer's nodes for ${id} sends and receives`,
    run: (bench) =>
      bench.withPod(id, async (pod) => {
        // Two programs of one container, each with its own queue pair: the HCA talks to itself.
        const command = ["ibv_rc_pingpong", "-d", pod.view.envs.RDMA_HCAS ?? "", "-g", "0", "-n", "200"];
        const server = runInside(pod, command);
        await listening(PING_PONG_PORT);
        const client = succeeded(await finished(runInside(pod, [...command, "127.0.0.1"])));
        succeeded(await finished(server));
        match(client.stdout, /200 iters in/);
        bench.note(`${client.stdout.trim().split("\n").at(-1)} (${ms(client.took)} in all)`);
      }),
  })),
];

/** TCP port over which two ibv_rc_pingpong agree. */
export const PING_PONG_PORT = 18515;

/** Resolves when a TCP socket listens on the port. /proc tells no news of itself, so it is asked until then. */
export async function listening(port: number, timeoutMs = 5_000): Promise<void> {
  // Second column of /proc/net/tcp: address and port in hex; state 0A is LISTEN.
  const row = new RegExp(`^ *\\d+: \\w+:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 0A `, "m");
  const listens = () => ["/proc/net/tcp", "/proc/net/tcp6"].some((file) => row.test(readFileSync(file, "utf8")));
  await eventually(listens, `a listener on port ${port}`, { timeoutMs });
}

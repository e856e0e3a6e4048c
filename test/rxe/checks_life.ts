/**
 * The plugin before there is any RDMA, on the first HCAs, over a restart, and at its end.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "@std/assert";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import process from "node:process";
import { KUBELET_DIR, makeLink, ms, RESOURCE, Skip } from "./bench.ts";
import type { Check } from "./checks.ts";
import { swapCheck } from "./checks_change.ts";
import { descriptors, finished, isVerbs, must, start } from "./commands.ts";
import { NET_MODULES, RDMA_MODULES } from "./modules.ts";

const begin: readonly Check[] = [
  {
    name: "the plugin started before any RDMA driver registers an empty resource",
    async run(bench) {
      await bench.kubelet.start();
      ok(!existsSync("/sys/class/infiniband"), "the RDMA core is loaded already");
      const { devices } = await bench.startPlugin();
      deepEqual(devices, []);
    },
  },
  {
    name: "the driver that is loaded and the HCA that is made are reported without a rescan",
    async run(bench) {
      const loaded = performance.now();
      await must(`modprobe -a ${[...RDMA_MODULES, ...NET_MODULES].join(" ")}`);
      bench.note(`modules loaded in ${ms(performance.now() - loaded)}`);
      await makeLink("eth1", "peer1", "10.1.0.1/24");
      await bench.reported("rdma link add", ["rxe0 Healthy"], () => must("rdma link add rxe0 type rxe netdev eth1"));
      await makeLink("eth2", "peer2", "10.2.0.1/24");
      await bench.reported(
        "a second HCA",
        ["rxe0 Healthy", "rxe1 Healthy"],
        () => must("rdma link add rxe1 type rxe netdev eth2"),
      );
    },
  },
];

const end: readonly Check[] = [
  {
    name: "the plugin never opened a verbs context",
    run(bench) {
      const open = descriptors(bench.plugin.pid);
      bench.note(`its descriptors: ${count(open)}`);
      deepEqual(open.filter(isVerbs), []);
      return Promise.resolve();
    },
  },
  {
    name: "the timer was no part of it",
    run(bench) {
      const causes = bench.plugin.causes();
      bench.note(`${causes.length} looks in all: ${count(causes.map((cause) => cause.split(":")[0]!))}`);
      deepEqual(causes.filter((cause) => cause.startsWith("timer")), []);
      return Promise.resolve();
    },
  },
  {
    name: "list and doctor speak of both HCAs",
    async run(bench) {
      if (!existsSync("src/cli/list.ts") || !existsSync("src/cli/doctor.ts")) {
        throw new Skip("there is no such command yet");
      }
      const deno = [process.execPath, "run", "-A", "--no-check", "--cached-only", "mod.ts"];
      const command = (name: string) => finished(start([...deno, name, "--kubelet-dir", KUBELET_DIR]), 30_000);
      const [list, doctor] = await Promise.all([command("list"), command("doctor")]);
      for (const ran of [list, doctor]) {
        bench.note(`status ${ran.status} after ${ms(ran.took)}\n${(ran.stdout + ran.stderr).trimEnd()}`);
        for (const name of ["rxe0", "rxe1"]) match(ran.stdout, new RegExp(`\\b${name}\\b`));
      }
      equal(list.status, 0);
      ok(doctor.status === 0 || doctor.status === 1, "doctor ended neither content nor with findings");
    },
  },
  {
    name: "SIGTERM ends it with status 0, and no socket stays behind",
    async run(bench) {
      const begun = performance.now();
      equal(await bench.stopPlugin(), 0);
      bench.note(`ended after ${ms(performance.now() - begun)}`);
      deepEqual(readdirSync(KUBELET_DIR).filter((name) => name.endsWith(".sock")), ["kubelet.sock"]);
    },
  },
  {
    name: "a plugin started on a machine with HCAs lists them Healthy at once",
    async run(bench) {
      writeFileSync("/tmp/quick.yaml", QUICK);
      const { devices } = await bench.startPlugin(["--config", "/tmp/quick.yaml"]);
      deepEqual(devices.map(({ id, health }) => `${id} ${health}`), ["rxe0 Healthy", "rxe1 Healthy"]);
    },
  },
  swapCheck,
  {
    name: "no link change is missed when a link bounces",
    async run(bench) {
      for (let round = 0; round < ROUNDS; round++) {
        await bench.reported("down", ["rxe0 Unhealthy"], () => must("ip link set eth1 down"));
        await bench.reported("up", ["rxe0 Healthy"], () => must("ip link set eth1 up"));
        await bench.reported("carrier lost", ["rxe1 Unhealthy"], () => must("ip link set peer2 down"));
        await bench.reported("carrier back", ["rxe1 Healthy"], () => must("ip link set peer2 up"));
      }
    },
  },
  {
    name: "an HCA that stays away leaves the list after its grace time",
    async run(bench) {
      await must("rdma link delete rxe1");
      await bench.kubelet.waitFor((state) => state.resources[RESOURCE]?.capacity === 1, { what: "only rxe0 left" });
      deepEqual(bench.devices, ["rxe0 Healthy"]);
      equal(await bench.stopPlugin(), 0);
    },
  },
];

const ROUNDS = 5;

/** Recovery without delay and a short memory, so that every change is a list of its own. */
const QUICK = `
resources:
  - name: ${RESOURCE}
    health: { settle: 0s, grace: 500ms }
`;

/** The plugin at its beginning and at its end. */
export const lifeChecks = { begin, end };

/** "socket: 5, /dev/null: 1" */
function count(words: readonly string[]): string {
  const kinds = new Map<string, number>();
  for (const word of words) {
    const kind = word.replace(/:\[\d+\]$/, "");
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [...kinds].map(([kind, times]) => `${kind} ${times}`).join(", ");
}

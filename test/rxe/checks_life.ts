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
import { openFiles } from "../support/process_figures.ts";
import { finished, isVerbs, must, start } from "./commands.ts";
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
      const open = openFiles(bench.plugin.pid);
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
      const commands = ["list", "doctor"].filter((name) => existsSync(`src/cli/${name}.ts`));
      if (commands.length === 0) throw new Skip("there are no such commands yet");
      const deno = [process.execPath, "run", "-A", "--no-check", "--cached-only", "mod.ts"];
      const running = commands.map((name) => start([...deno, name, "--kubelet-dir", KUBELET_DIR]));
      for (const [i, ran] of (await Promise.all(running.map((one) => finished(one, 300_000)))).entries()) {
        const said = (ran.stdout + ran.stderr).trimEnd();
        bench.note(`${commands[i]}: status ${ran.status} after ${ms(ran.took)}\n${said}`);
        for (const name of ["rxe0", "rxe1"]) match(ran.stdout, new RegExp(`\\b${name}\\b`));
        // doctor may find something to say about such a machine; a crash is neither of the two.
        ok(ran.status === 0 || commands[i] === "doctor" && ran.status === 1, `${commands[i]}: status ${ran.status}`);
      }
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
      const took: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const [link, id] of [["eth1", "rxe0"], ["peer2", "rxe1"]] as const) {
          for (const [way, health] of [["down", "Unhealthy"], ["up", "Healthy"]] as const) {
            const change = () => must(`ip link set ${link} ${way}`);
            took.push(await bench.reported(`${link} ${way}`, [`${id} ${health}`], change));
          }
        }
      }
      bench.takeNotes(); // one line for all of them
      const [least = 0, middle = 0, most = 0] = [0, 0.5, 1].map((part) =>
        took.toSorted((a, b) => a - b)[Math.round(part * (took.length - 1))]
      );
      bench.note(
        `kubelet told after the command began, ${took.length} changes: ` +
          `${ms(least)} at best, ${ms(middle)} in the middle, ${ms(most)} at worst`,
      );
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

const ROUNDS = 6;

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

/**
 * What happens to HCAs while the plugin runs: links, names, and their coming and going.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { readFileSync } from "node:fs";
import { type Bench, ms, RESOURCE } from "./bench.ts";
import type { Check } from "./checks.ts";
import { listening, PING_PONG_PORT } from "./checks_allocate.ts";
import { openFiles } from "../support/process_figures.ts";
import { finished, isVerbs, must, start, succeeded } from "./commands.ts";
import { runInside } from "./container.ts";

/** More than a removal takes on this machine, and less than anybody would wait. Milliseconds. */
const REMOVAL_LIMIT = 8_000;

export const changeChecks: readonly Check[] = [
  {
    name: "link down and up are reported",
    async run(bench) {
      await bench.reported("link down", ["rxe0 Unhealthy", "rxe1 Healthy"], () => must("ip link set eth1 down"));
      await refused(bench, "rxe0", /port 1 is DOWN/);
      await bench.reported("link up", ["rxe0 Healthy"], () => must("ip link set eth1 up"));
    },
  },
  {
    name: "loss of carrier is reported",
    async run(bench) {
      await bench.reported("peer down", ["rxe0 Healthy", "rxe1 Unhealthy"], () => must("ip link set peer2 down"));
      await refused(bench, "rxe1", /port 1 is DOWN/);
      await bench.reported("peer up", ["rxe1 Healthy"], () => must("ip link set peer2 up"));
    },
  },
  {
    name: "a new address is noticed and sends the kubelet nothing",
    async run(bench) {
      const logged = bench.plugin.log.length;
      const lists = bench.kubelet.state().resources[RESOURCE]?.lists;
      await must("ip address add 10.1.0.77/24 dev eth1");
      // The second line is the full scan, which comes a second after the address and reads the GIDs.
      for (const which of [/got 10\.1\.0\.77\/24$/, /got .*\(everything\)$/]) {
        await bench.plugin.logged("a scan because of the address", (line) => which.test(line.message), logged);
      }
      equal(bench.kubelet.state().resources[RESOURCE]?.lists, lists);
    },
  },
  {
    name: "a renamed HCA goes under its old name and comes under the new one",
    async run(bench) {
      await bench.reported("rename", ["rxe0 Unhealthy", "foo0 Healthy"], () => must("rdma dev set rxe0 name foo0"));
      await grantsOwnNode(bench, "foo0");
      await refused(bench, "rxe0", /disappeared/);
      await bench.reported(
        "rename back",
        ["foo0 Unhealthy", "rxe0 Healthy"],
        () => must("rdma dev set foo0 name rxe0"),
      );
    },
  },
  {
    name: "removal is reported, never waits for the plugin, and renumbered nodes are handed out right",
    async run(bench) {
      equal(nodeOf("rxe0"), "uverbs0");
      await bench.reported("rdma link delete", ["rxe0 Unhealthy", "rxe1 Healthy"], () => remove(bench, "rxe0"));
      await bench.reported("rdma link add", ["rxe9 Healthy"], () => must("rdma link add rxe9 type rxe netdev eth1"));
      equal(nodeOf("rxe9"), "uverbs0");
      for (const name of ["rxe9", "rxe1"]) await grantsOwnNode(bench, name);
      await refused(bench, "rxe0", /disappeared/);
      await bench.reported("delete again", ["rxe9 Unhealthy"], () => remove(bench, "rxe9"));
      await bench.reported("add again", ["rxe0 Healthy"], () => must("rdma link add rxe0 type rxe netdev eth1"));
      await grantsOwnNode(bench, "rxe0");
    },
  },
  {
    name: "somebody else's open context holds up the removal, and the plugin reports the HCA at once",
    async run(bench) {
      await bench.withPod("rxe1", async (pod) => {
        const holder = runInside(pod, ["ibv_rc_pingpong", "-d", "rxe1", "-g", "0"]);
        await listening(PING_PONG_PORT);
        ok(openFiles(holder.child.pid ?? 0).some(isVerbs), "an open context does not show in /proc");
        let removed = false;
        const removal = start("rdma link delete rxe1".split(" "));
        try {
          void removal.ended.then(() => removed = true);
          await bench.reported("removal under use", ["rxe1 Unhealthy"], () => Promise.resolve());
          ok(!removed, "the removal did not wait, so this shows nothing");
          // What the library does to a scan meanwhile must not keep the other HCA from being handed out or reported.
          await grantsOwnNode(bench, "rxe0");
          await bench.reported("link down meanwhile", ["rxe0 Unhealthy"], () => must("ip link set eth1 down"));
          ok(!removed, "the removal ended before its holder did");
        } finally {
          holder.child.kill("SIGKILL");
        }
        const { took } = succeeded(await finished(removal, REMOVAL_LIMIT));
        await holder.ended;
        bench.note(`the removal took ${ms(took)}, as long as the context was open`);
      });
      await bench.reported("link up", ["rxe0 Healthy"], () => must("ip link set eth1 up"));
      await bench.reported("add", ["rxe1 Healthy"], () => must("rdma link add rxe1 type rxe netdev eth2"));
    },
  },
];

/**
 * Two HCAs swap their nodes while the plugin is stopped, so that the first thing it meets afterwards is a request about
 * a machine that it has not looked at.
 */
export const swapCheck: Check = {
  name: "Allocate behind a swap of nodes that went unseen is right or refused, never wrong",
  async run(bench) {
    for (const [first, second] of [["rxe1", "rxe0"], ["rxe0", "rxe1"]] as const) {
      bench.plugin.signal("SIGSTOP");
      for (const name of ["rxe0", "rxe1"]) await remove(bench, name);
      for (const name of [first, second]) {
        await must(`rdma link add ${name} type rxe netdev ${name === "rxe0" ? "eth1" : "eth2"}`);
      }
      equal(nodeOf(first), "uverbs0");
      const asked = ["rxe0", "rxe1"].map(async (name) => `${name} ${await anyAnswer(bench, name)}`);
      bench.plugin.signal("SIGCONT");
      bench.note((await Promise.all(asked)).join(", "));
      for (const name of ["rxe0", "rxe1"]) await grantsOwnNode(bench, name);
    }
  },
};

/** Removes an HCA; with the plugin about, that must not take longer than without. */
async function remove(bench: Bench, name: string): Promise<void> {
  const { took } = await must(`rdma link delete ${name}`, REMOVAL_LIMIT);
  bench.note(`rdma link delete ${name} took ${ms(took)}`);
}

/** The kernel's word on which node an HCA has. */
function nodeOf(hca: string): string | null {
  for (let n = 0; n < 16; n++) {
    try {
      const name = `uverbs${n}`;
      if (readFileSync(`/sys/class/infiniband_verbs/${name}/ibdev`, "utf8").trim() === hca) return name;
    } catch {
      // no such node
    }
  }
  return null;
}

/** Asks for the device and checks that its uverbs node is the one that the kernel has for it now. */
async function grantsOwnNode(bench: Bench, id: string): Promise<void> {
  const [answer] = await bench.kubelet.allocate(RESOURCE, [[id]]);
  const granted = (answer?.devices ?? []).map(({ host_path }) => host_path ?? "");
  const uverbs = granted.filter((path) => path.includes("uverbs"));
  deepEqual(uverbs, [`/dev/infiniband/${nodeOf(id)}`]);
}

async function refused(bench: Bench, id: string, why: RegExp): Promise<void> {
  await rejects(bench.kubelet.allocate(RESOURCE, [[id]]), (error: Error) => {
    match(error.message, why);
    return true;
  });
}

/** The node that the HCA has now, or a refusal; which of the two. */
async function anyAnswer(bench: Bench, id: string): Promise<"granted" | "refused"> {
  try {
    await grantsOwnNode(bench, id);
    return "granted";
  } catch (error) {
    if (error instanceof Error && "code" in error && typeof error.code === "number") return "refused";
    throw error;
  }
}

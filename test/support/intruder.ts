/**
 * What would be tried by whoever can run code in the plugin's process: a script that runs in the plugin's place, with its
 * permissions, in a room like the image's container.
 *
 * @module
 */
import { equal } from "@std/assert";
import { box } from "./box.ts";
import { within } from "./temp.ts";

/** @returns a line "what: allowed" or "what: refused" for each attempt */
export async function intrude(permissions: readonly string[]): Promise<readonly string[]> {
  await using room = await box("connectx-ib-dual");
  room.put("/app/intruder.mjs", INTRUDER);
  room.put("/var/run/secrets/kubernetes.io/serviceaccount/token", "token");
  for (const name of ["rdma.tencent.com", "other"]) room.put(`/var/lib/kubelet/plugins/${name}/.keep`, "");
  const intruder = room.deno("run", "--quiet", ...permissions, "/app/intruder.mjs");
  equal((await within(intruder.ended, "the intruder's end")).code, 0, intruder.log.join("\n"));
  return intruder.log;
}

const INTRUDER = `
import { connect } from "node:net";
import { readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
const attempts = {
  "read the host's HCAs": () => Deno.readDirSync("/host/sys/class/infiniband").next(),
  "see the host's nodes": () => Deno.statSync("/host/dev/infiniband/uverbs0"),
  "read /etc/shadow": () => Deno.readTextFileSync("/etc/shadow"),
  "read /etc/shadow as Node does": () => readFileSync("/etc/shadow"),
  "make a link and read through it": () => {
    Deno.symlinkSync("/etc/shadow", "/var/run/cdi/link");
    return Deno.readTextFileSync("/var/run/cdi/link");
  },
  "read its own program's directory": () => Deno.readTextFileSync("/app/deno.json"),
  "read /proc": () => Deno.readTextFileSync("/proc/self/environ"),
  "read the container's /sys": () => Deno.readTextFileSync("/sys/kernel/uevent_seqnum"),
  "write to sysfs": () => Deno.writeTextFileSync("/host/sys/class/infiniband/x", ""),
  "write to /tmp": () => writeFileSync("/tmp/x", ""),
  "start a program": () => new Deno.Command("/bin/sh").outputSync(),
  "start a program as Node does": () => { const { error } = spawnSync("/bin/true"); if (error) throw error; },
  "read the environment": () => Deno.env.get("PATH"),
  "ask for the host's memory": () => Deno.systemMemoryInfo(),
  "read the service account's token": () => Deno.readTextFileSync("/var/run/secrets/kubernetes.io/serviceaccount/token"),
  "write a record of a claim": () => writeFileSync("/var/lib/kubelet/plugins/rdma.tencent.com/x", ""),
  "write into another plugin's directory": () => writeFileSync("/var/lib/kubelet/plugins/other/x", ""),
  "connect to 10.96.0.1": () => Deno.connect({ hostname: "10.96.0.1", port: 443 }),
  "connect to 10.96.0.2": () => Deno.connect({ hostname: "10.96.0.2", port: 443 }),
  "connect to a node": () => Deno.connect({ hostname: "192.168.1.1", port: 10250 }),
  "connect to the cloud's metadata": () => Deno.connect({ hostname: "169.254.169.254", port: 80 }),
  "connect somewhere": () => Deno.connect({ hostname: "192.0.2.1", port: 80 }),
  "connect somewhere as Node does": () => new Promise((done, fail) => connect(80, "192.0.2.1").once("error", fail).once("connect", done)),
  "fetch": () => fetch("http://192.0.2.1/"),
  "reach a socket elsewhere": () => Deno.connect({ transport: "unix", path: "/run/containerd/containerd.sock" }),
  "load a library": () => Deno.dlopen("libc.so.6", {}).close(),
};
for (const [what, attempt] of Object.entries(attempts)) {
  let result = "allowed";
  try { await attempt(); } catch (error) {
    // In a network without a way out: Deno let it pass, and it ended at the kernel.
    const passed = /ENETUNREACH|Network is unreachable/.test(error.code + error.message);
    if (!passed) result = error.name === "NotCapable" || error.code === "ERR_ACCESS_DENIED" ? "refused" : "error " + error;
  }
  console.log(what + ": " + result);
}
Deno.exit(0);
`;

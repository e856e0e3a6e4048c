import { deepEqual, equal, match } from "@std/assert";
import { rmSync } from "node:fs";
import { RESOURCE, type StubOptions } from "../support/plugin_stub.ts";
import { Bench } from "./bench.ts";

/** A started kubelet with a plugin watcher. */
async function watching(): Promise<Bench> {
  const made = new Bench({}, { watcher: true });
  await made.kubelet.start();
  return made;
}

Deno.test("the plugin watcher registers a new socket, tells it so, and deregisters it when it goes", async () => {
  await using at = await watching();
  const stub = await at.stub({}, at.registry);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
  equal(at.kubelet.state().resources[RESOURCE]?.via, "watcher");
  await stub.notification();
  deepEqual(stub.notified.map(({ plugin_registered }) => plugin_registered), [true]);
  rmSync(stub.socket);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 0);
});

Deno.test("the plugin watcher dials the endpoint that GetInfo names, and ignores hidden sockets", async () => {
  await using at = await watching();
  const service = await at.stub({ endpoint: "elsewhere.sock" });
  const hidden = await at.stub({ endpoint: ".hidden.sock", resource: "example.com/hidden" }, at.registry);
  const front = await at.stub({ endpoint: "front.sock", info: { endpoint: service.socket } }, at.registry);
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.endpoint === service.socket);
  await front.notification();
  deepEqual(hidden.calls, []);
});

const STRANGERS: readonly [string, NonNullable<StubOptions["info"]>, RegExp][] = [
  ["another type", { type: "CSIPlugin" }, /no handler.*CSIPlugin/],
  ["another version", { supported_versions: ["v1"] }, /v1beta1/],
  ["a bad name", { name: "rdma" }, /not an extended resource name/],
];
for (const [what, info, sentence] of STRANGERS) {
  Deno.test(`the plugin watcher tells a plugin of ${what} that it is not registered, and why`, async () => {
    await using at = await watching();
    const stub = await at.stub({ info }, at.registry);
    const status = await stub.notification();
    equal(status.plugin_registered, false);
    match(status.error, sentence);
  });
}

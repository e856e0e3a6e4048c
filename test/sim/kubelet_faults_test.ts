import { deepEqual, equal, ok, rejects } from "@std/assert";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { healthy, RESOURCE } from "../support/plugin_stub.ts";
import { bench } from "./bench.ts";

Deno.test("refuse() refuses the next Registers with its reason, as often as told", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.refuse("the moon is full", { times: 2 });
  await rejects(stub.register(), /the moon is full/);
  await rejects(stub.register(), /the moon is full/);
  await stub.register();
  at.kubelet.refuse("for ever");
  await rejects(stub.register(), /for ever/);
  at.kubelet.calm();
  await stub.register();
});

Deno.test("slow() lets a caller's deadline pass, and close() does not wait for it", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.slow(3_600_000, { where: "register" });
  // On a busy machine the deadline of the first calls may pass before the kubelet has got them.
  do await rejects(stub.register({}, 50), (error: { code: number }) => error.code === 4); while (
    !at.kubelet.history.some((event) => event.kind === "register")
  );
  at.kubelet.calm();
  await stub.register();
});

Deno.test("slow() delays admission, and dying ends the delay with an error", async () => {
  await using at = await bench();
  await at.plugin();
  at.kubelet.slow(1, { where: "admission", times: 1 });
  await at.kubelet.admit({ name: "p", resource: RESOURCE, count: 1 });
  at.kubelet.slow(3_600_000);
  const pod = rejects(at.kubelet.admit({ name: "q", resource: RESOURCE, count: 1 }));
  await at.kubelet.stop();
  await pod;
});

Deno.test("dieInRegister() cuts the call without an answer and stays dead until start()", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.dieInRegister();
  await rejects(stub.register({}, 5_000), (error: { code: number }) => [1, 13, 14].includes(error.code));
  await at.kubelet.waitFor((state, history) => !state.running && history.at(-1)?.kind === "stopped");
  ok(existsSync(join(at.dir, "kubelet.sock")));
  await at.kubelet.start();
  await at.plugin();
});

Deno.test("neverDial() answers well and never connects", async () => {
  await using at = await bench();
  const stub = await at.stub();
  at.kubelet.neverDial({ times: 1 });
  await stub.register();
  deepEqual(stub.calls, []);
  await stub.register();
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.allocatable === 2);
});

Deno.test("stopReading() leaves the stream open until the plugin's writes pile up; resumeReading() takes the rest", async () => {
  await using at = await bench();
  const stub = await at.plugin();
  at.kubelet.stopReading();
  const many = healthy(...Array.from({ length: 2_000 }, (_, n) => createHash("sha1").update(String(n)).digest("hex")));
  let writes = 0;
  while (stub.list(many) && writes < 200) writes += 1;
  ok(writes < 200, "the plugin is told to wait");
  equal(at.kubelet.state().resources[RESOURCE]?.capacity, 2);
  at.kubelet.resumeReading();
  stub.list(healthy("last"));
  await at.kubelet.waitFor((state) => state.resources[RESOURCE]?.devices[0]?.id === "last");
});

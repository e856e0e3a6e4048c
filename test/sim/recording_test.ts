/**
 * The fake kubelet does to a plugin's socket what the real one does. The recording of the real one is made by
 * `deno task test:cluster` (which also fails when it is no longer true); what differs on purpose is named here.
 *
 * @module
 */
import { deepEqual } from "@std/assert";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeKubelet } from "../../sim/mod.ts";
import type { Recorded, RecordedKubelet } from "../support/recording/recorder.ts";
import { comparable, record, type Recording } from "../support/recording/situations.ts";
import { temporaryDir } from "../support/temp.ts";

const REAL = JSON.parse(readFileSync(new URL("recordings/kubelet.json", import.meta.url), "utf8")) as Recording;

/** A difference that stays, with its reason; it is applied to what the real kubelet did. */
function asTheSimDoes(event: Recorded): Recorded {
  // The sim's client is grpc-js, the kubelet's grpc-go. No plugin may care which.
  if (event.userAgent === "grpc-go") event = { ...event, userAgent: "grpc-node-js" };
  // A call that hangs must not hang a test for ever: the sim gives up after a minute where the kubelet does not.
  if (event.deadline === null && event.event !== "ListAndWatch") event = { ...event, deadline: 60 };
  return event;
}

/**
 * The kubelet admits all containers of a pod, then prepares and starts them; the sim admits, prepares and starts one
 * container after the other, so that a test may have one fail. Within a container the order is the same.
 */
function preparedLast(events: readonly Recorded[]): Recorded[] {
  const prepares = (event: Recorded) => event.event === "PreStartContainer";
  return [...events.filter((one) => !prepares(one)), ...events.filter(prepares)];
}

Deno.test("the fake kubelet does to a plugin what the real kubelet was recorded doing", async (t) => {
  using dir = temporaryDir();
  const pluginDir = join(dir.path, "device-plugins");
  const registryDir = join(dir.path, "plugins_registry");
  mkdirSync(registryDir);
  const kubelet = new FakeKubelet({ dir: pluginDir, pluginsRegistry: registryDir });
  await kubelet.start();
  try {
    const sim = await record((resource): RecordedKubelet => ({
      pluginDir,
      registryDir,
      resource,
      async offers(name, count) {
        await kubelet.waitFor((state) => state.resources[name]?.allocatable === count, { what: `${count} ${name}` });
      },
      async admit(pod, name, counts) {
        for (const [index, count] of counts.entries()) {
          await kubelet.admit({ name: pod, container: `c${index}`, resource: name, count });
        }
      },
      stop: (how) => kubelet.stop({ socket: how === "ends" ? "goes" : "stays" }),
      start: () => kubelet.start(),
    }));
    deepEqual(Object.keys(sim), Object.keys(REAL), "record the real kubelet again: deno task test:cluster --record");
    for (const [name, events] of Object.entries(REAL)) {
      const expected = comparable(preparedLast(events.map(asTheSimDoes)));
      await t.step(name, () => deepEqual(comparable(preparedLast(sim[name] ?? [])), expected));
    }
  } finally {
    await kubelet.close();
  }
});

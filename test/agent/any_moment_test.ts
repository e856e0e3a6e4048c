import { setImmediate as turn } from "node:timers/promises";
import { manyHcas } from "../../sim/host/host.ts";
import { rig } from "../support/rig.ts";

// The test runner counts timers and sockets: what a closed plugin leaves behind fails the step.
Deno.test("a plugin may be closed at any moment of its start, and leaves no timer and no connection", async (t) => {
  for (let turns = 0; turns < 30; turns++) {
    await t.step(`after ${turns} turns of the event loop`, async () => {
      await using plugin = await rig({ host: manyHcas(2), pods: [] });
      for (let n = 0; n < turns; n++) await turn();
      if (turns % 2 === 0) await plugin.kubelet.stop();
    });
  }
});

Deno.test("a plugin may be closed at any moment while its kubelet restarts, and leaves none either", async (t) => {
  for (let turns = 0; turns < 30; turns++) {
    await t.step(`after ${turns} turns of the event loop`, async () => {
      await using plugin = await rig({ host: manyHcas(2), pods: [] });
      await plugin.registered();
      await plugin.kubelet.restart();
      for (let n = 0; n < turns; n++) await turn();
    });
  }
});

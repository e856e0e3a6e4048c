import { setImmediate as turn } from "node:timers/promises";
import { manyHcas } from "../../sim/host/host.ts";
import { rig } from "../support/rig.ts";

// The test runner counts the timers and sockets of each test: what a closed plugin leaves behind fails it.
for (const turns of [0, 1, 2, 3, 4, 6, 8, 12, 16, 24]) {
  Deno.test(`a plugin that is closed ${turns} turns of the event loop after its start leaves nothing open`, async () => {
    await using plugin = await rig({ host: manyHcas(2), pods: [] });
    for (let n = 0; n < turns; n++) await turn();
    if (turns % 4 === 0) await plugin.kubelet.stop();
  });

  Deno.test(`a plugin that is closed ${turns} turns after its kubelet is back leaves nothing open`, async () => {
    await using plugin = await rig({ host: manyHcas(2), pods: [] });
    await plugin.registered();
    await plugin.kubelet.restart();
    for (let n = 0; n < turns; n++) await turn();
  });
}

/**
 * RDMA network namespaces.
 *
 * @module
 */
import { equal, match } from "@std/assert";
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import { eventually } from "../support/eventually.ts";
import { Skip } from "./bench.ts";
import type { Check } from "./checks.ts";
import { finished, must, start } from "./commands.ts";

export const netnsChecks: readonly Check[] = [
  {
    name: "readNetnsMode() agrees with rdma system in both modes",
    async run() {
      match((await must("rdma system")).stdout, /netns shared/);
      equal(readNetnsMode("/sys"), "shared");
      await must("rdma system set netns exclusive");
      match((await must("rdma system")).stdout, /netns exclusive/);
      equal(readNetnsMode("/sys"), "exclusive");
    },
  },
  {
    name: "an HCA moved into a pod's network namespace is not given away again",
    async run(bench) {
      await must("ip netns add pod");
      const moved = await finished(start("rdma dev set rxe1 netns pod".split(" ")));
      try {
        if (moved.status !== 0) {
          match(moved.stderr, /not supported/);
          throw new Skip(`soft-RoCE cannot be moved on this kernel (${moved.stderr.trim()})`);
        }
        await bench.reported("move", ["rxe1 Healthy"], () => Promise.resolve());
      } finally {
        await must("ip netns delete pod");
        // The namespace's end is the work of a kernel thread; until then the mode cannot be changed back.
        await untilShared();
      }
    },
  },
];

async function untilShared(): Promise<void> {
  let words = "";
  await eventually(
    async () => {
      const ran = await finished(start("rdma system set netns shared".split(" ")));
      words = ran.stderr;
      return ran.status === 0;
    },
    () => `the RDMA net namespace mode to be shared: ${words}`,
    { timeoutMs: 5_000, everyMs: 100 },
  );
}

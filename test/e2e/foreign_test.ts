import { deepEqual, equal, match, ok, rejects } from "@std/assert";
import { status } from "@grpc/grpc-js";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { buildGoKubelet, type ForeignError, ForeignKubelet } from "../support/foreign.ts";
import { type Need, needs } from "../support/need.ts";
import { onHost } from "../support/plugin.ts";

const RESOURCE = DEFAULT_SPEC.name;

/** Kubelets that share no line of code with grpc-js. */
const KUBELETS: [string, Need[], (dir: string) => Promise<ForeignKubelet>][] = [
  ["grpc-go", ["go"], async (dir) => await ForeignKubelet.go(await buildGoKubelet(), dir)],
  ["gRPC's C core (Python)", ["python3-grpcio"], async (dir) => await ForeignKubelet.python(dir)],
];

for (const [name, need, start] of KUBELETS) {
  Deno.test({
    name: `A kubelet on ${name} registers, lists and allocates with the plugin, and restarts`,
    ...needs(...need),
    async fn() {
      await using place = onHost("connectx-roce-vfs");
      const kubelet = await start(place.kubeletDir);
      try {
        const plugin = place.start("--log-level", "debug");
        const first = await kubelet.waitFor((event) => event.event === "list", { what: "the first list" });
        equal((first.devices as unknown[]).length, 10, JSON.stringify(first));
        deepEqual(await kubelet.options(RESOURCE), {
          preStartRequired: false,
          preferredAvailable: true,
        });

        const answers = await kubelet.allocate(RESOURCE, [["mlx5_2"]]);
        match(JSON.stringify(answers), /"\/dev\/infiniband\/uverbs2"/);
        ok(!JSON.stringify(answers).includes("uverbs3"));
        const preferred = await kubelet.preferred(RESOURCE, {
          available: ["mlx5_0", "mlx5_1", "mlx5_2"],
          mustInclude: ["mlx5_1"],
          size: 1,
        });
        deepEqual(preferred, ["mlx5_1"]);

        await rejects(kubelet.allocate(RESOURCE, [["mlx5_77"]]), (error: unknown) => {
          const { code, message } = error as ForeignError;
          equal(code, status.INVALID_ARGUMENT);
          match(message, /no device "mlx5_77"/);
          return true;
        });
        await place.host.portDown("mlx5_1", 1);
        await kubelet.waitFor(
          (event) =>
            event.event === "list" && event.devices.some((one) => one.id === "mlx5_1" && one.health === "Unhealthy"),
          { what: "mlx5_1 Unhealthy" },
        );
        await rejects(kubelet.allocate(RESOURCE, [["mlx5_1"]]), (error: unknown) => {
          equal((error as ForeignError).code, status.FAILED_PRECONDITION);
          match((error as Error).message, /"mlx5_1" is Unhealthy: port 1 is DOWN/);
          return true;
        });

        await kubelet.restart();
        // A kubelet on its way down may still accept a registration; what counts comes after it listens again.
        const seen = kubelet.events.findLastIndex((event) => event.event === "listening");
        await kubelet.waitFor((event) => event.event === "list", { what: "the list after a restart", since: seen });
        match(JSON.stringify(await kubelet.allocate(RESOURCE, [["mlx5_2"]])), /uverbs2/);
        equal(kubelet.events.slice(seen).filter((event) => event.event === "registered").length, 1);
        equal((await plugin.stop()).code, 0);
      } finally {
        await kubelet.close();
      }
    },
  });
}

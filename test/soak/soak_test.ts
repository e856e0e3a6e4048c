import { deepEqual, equal, ok } from "@std/assert";
import { soak } from "./soak.ts";

/** Milliseconds of churn; `deno task soak` plays for minutes. */
const SHORT = 15_000;

Deno.test("an hour of a busy node's life loses no event and leaves nothing open", async () => {
  const { rounds, counts, figures } = await soak({ forMs: SHORT, registration: "watcher", room: 48 });
  // The round that warms up is counted too.
  const played = rounds + 1;
  ok(rounds >= 8);
  // Ten HCAs, each down and up; every one of these was exactly one list of exactly one resource.
  equal(counts.lists, played * 20);
  equal(counts["link events"], played * 22);
  equal(counts["HCAs removed and back"], played);
  equal(counts["VFs made"], played * 4);
  equal(counts.allocations, played * (60 + 3));
  equal(counts.refusals, played * 10);
  equal(counts.preferences, played * 30);
  equal(counts.watchers, played * 8);
  equal(counts["kubelet restarts"], played * 3);
  equal(counts.configurations, played * 4);
  equal(counts.hangups, played);
  // All at once: descriptors that rise without sockets are files, and with them connections.
  const rising = figures.filter((one) => !one.flat);
  deepEqual(rising.map((one) => `${one.name}: ${one.from} to ${one.to}, between ${one.least} and ${one.most}`), []);
});

/**
 * `fleet`: one table over all nodes of a cluster, from what its API server has.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { asJson } from "../fleet/json.ts";
import { matcher } from "../fleet/patterns.ts";
import { type Fleet, fleetOf } from "../fleet/rows.ts";
import { isDown } from "../fleet/summary.ts";
import { asText } from "../fleet/table.ts";
import { ApiClient, type ApiError } from "../kubernetes/client.ts";
import { print } from "../text/print.ts";
import { escapeUnprintable } from "../text/printable.ts";
import { painter } from "../text/table.ts";
import { openCollector } from "./collect_at_rest.ts";
import { fleetAccess } from "./fleet_access.ts";
import { FleetSource, type Missing } from "./fleet_source.ts";
import type { Values } from "./flags.ts";

/** Nothing can be said of the fleet. */
const UNKNOWN = 2;
/** Names of resources that are RDMA's, where no flag says which are meant. */
const RDMA = "*rdma*,*roce*,*hca*,*infiniband*";
/** `--watch` prints at most so often. */
const PRINT_MS = 1_000;

/** Returns status 0 when nothing is down, 1 when something is, 2 when that cannot be said. */
export async function fleetCommand(values: Values): Promise<number> {
  const client = new ApiClient(fleetAccess(values));
  const { resource, selector } = values;
  const counted = matcher(resource ?? RDMA);
  const wanted = { counted, own: resource === undefined ? () => true : counted };
  const source = new FleetSource(client, { driver: values["dra-driver-name"], wanted, selector });
  const stop = new AbortController();
  if (values.watch) { for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort()); }
  try {
    await source.read(stop.signal);
    // Reading has left as much behind as is kept, which the table would come on top of.
    openCollector()?.();
    const failure = selector === undefined ? source.failure : source.nodesError;
    if (failure !== null) return refuse(failure);
    const matches = values.nodes === undefined ? () => true : matcher(values.nodes);
    const current = () => fleetOf(source.facts, selector !== undefined, matches);
    const show = (fleet: Fleet) => showFleet(fleet, values, source.missing);
    const fleet = current();
    if (!show(fleet) || !values.watch) return statusOf(fleet);
    return await watch(source, current, show, stop);
  } finally {
    client.close();
  }
}

/** Prints after every change, until a signal comes or the reader is gone; the status is that of the last table. */
async function watch(
  source: FleetSource,
  current: () => Fleet,
  show: (fleet: Fleet) => boolean,
  stop: AbortController,
): Promise<number> {
  let changed = Promise.withResolvers<void>();
  const following = source.follow(() => changed.resolve(), stop.signal);
  stop.signal.addEventListener("abort", () => changed.resolve(), { once: true });
  let fleet = current();
  while (!stop.signal.aborted) {
    await changed.promise;
    // What changes within the next moment is printed with it.
    await delay(PRINT_MS, undefined, { signal: stop.signal }).catch(() => {});
    if (stop.signal.aborted) break;
    changed = Promise.withResolvers();
    fleet = current();
    if (!show(fleet)) stop.abort();
  }
  await following;
  return statusOf(fleet);
}

function showFleet(fleet: Fleet, values: Values, missing: readonly Missing[]): boolean {
  const now = Date.now();
  const onlyDown = values.down;
  if (values.json) {
    for (const part of asJson(fleet, { onlyDown, missing, now })) if (!print(part)) return false;
    return true;
  }
  if (values.watch) print(process.stdout.isTTY ? "\u001b[2J\u001b[H" : `\n${new Date(now).toISOString()}\n`);
  const notes = missing.map(({ what, reason, without }) =>
    `${what} cannot be read, so this is without ${without}: ${reason}`
  );
  return print(asText(fleet, painter(process.stdout, process.env), { onlyDown, notes, now }));
}

function statusOf({ rows }: Fleet): number {
  return rows.some(isDown) ? 1 : 0;
}

const REMEDIES: Readonly<Record<string, string>> = {
  Untrusted: "The kubeconfig's certificate-authority must be the one that signed it.",
  Unauthorized: "The kubeconfig's credentials have expired, or are another cluster's.",
  Forbidden: "deploy/fleet/cluster-role.yaml has the rights that fleet needs (docs/fleet.md).",
  Unreachable: "Is the address the right one (kubectl config view), and is there a way to it from here? " +
    "A proxy (HTTPS_PROXY) is not used.",
};

function refuse({ reason, message }: ApiError): number {
  writeSync(2, `${[escapeUnprintable(message), REMEDIES[reason] ?? ""].join("\n").trim()}\n`);
  return UNKNOWN;
}

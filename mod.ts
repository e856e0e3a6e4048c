/**
 * A device plugin that offers a Kubernetes node's RDMA adapters (HCAs) to pods.
 *
 * As a program: `deno run -A mod.ts --log-level debug`; see `--help`. As a library: start an {@link Agent} over a
 * {@link Discovery} of your own, or use the pure parts, {@link select}, {@link track} and {@link allocate}.
 *
 * @module
 */
import process from "node:process";
import { main } from "./src/cli/main.ts";

export { Agent, type AgentObserver, type AgentOptions, type AgentState } from "./src/agent/agent.ts";
export { Discovery, type DiscoverySources } from "./src/hca/discover.ts";
export { openVerbs, type Verbs } from "./src/hca/verbs.ts";
export { type Depth, type EventSource, type Trigger, trigger, type Urgency } from "./src/hca/events/trigger.ts";
export type * from "./src/hca/types.ts";
export { allocate, type Grant, type Outcome } from "./src/pool/allocate.ts";
export { devices, type OfferedDevice } from "./src/pool/devices.ts";
export { type Change, type DeviceState, type PoolStates, track } from "./src/pool/states.ts";
export { prefer, type PreferenceRequest } from "./src/pool/prefer.ts";
export { type Member, type Pool, select, type Selection } from "./src/pool/select.ts";
export { DEFAULT_SPEC, type ResourceSpec, type Selector } from "./src/pool/spec.ts";

if (import.meta.main) process.exit(await main(process.argv.slice(2)));

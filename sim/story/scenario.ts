/**
 * The format of a scenario file: a host, the plugin's flags, and steps with the expected state after each. One schema
 * defines the types and the checks.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { z } from "zod";
import { PRESETS } from "../host/presets.ts";

const resource = z.string().describe("extended resource; may be left out when the plugin offers one");

/** The state that the kubelet must see. */
const seen = z.strictObject({
  resource: resource.optional(),
  capacity: z.number().int().optional().describe("healthy and unhealthy devices"),
  allocatable: z.number().int().optional().describe("healthy devices"),
  devices: z.record(z.string(), z.enum(["Healthy", "Unhealthy"])).optional().describe("exactly these devices"),
  numa: z.record(z.string(), z.array(z.number().int())).optional().describe("NUMA nodes by device"),
  gone: z.boolean().optional().describe("the resource no longer has a plugin"),
});

const admit = z.strictObject({
  pod: z.string(),
  resource: resource.optional(),
  count: z.number().int().positive().default(1),
  ids: z.array(z.string()).optional().describe("exactly these device IDs"),
  nodes: z.array(z.string()).optional().describe("exactly these device nodes"),
  hcas: z.array(z.string()).optional().describe("exactly these in RDMA_HCAS"),
  hcaCount: z.number().int().optional(),
  env: z.record(z.string(), z.string()).optional().describe("at least these variables"),
  cdi: z.array(z.string()).optional().describe("exactly these CDI names"),
  refused: z.string().optional().describe("the pod must be rejected with a message that matches"),
});

const claim = z.strictObject({
  name: z.string().describe("of the claim, and of the pod that has it"),
  count: z.number().int().positive().default(1),
  where: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional()
    .describe("attributes of the devices"),
  shares: z.number().int().positive().optional(),
  tolerate: z.boolean().default(false).describe("the claim tolerates every taint"),
  nodes: z.array(z.string()).optional().describe("exactly these device nodes"),
  hcas: z.array(z.string()).optional().describe("exactly these in RDMA_HCAS"),
  again: z.boolean().default(false).describe(
    "the previous claim is prepared again, as for a recreated sandbox",
  ),
  pending: z.boolean().default(false).describe("no device fits"),
  refused: z.string().optional().describe("the driver must refuse it with words that match"),
});

const published = z.strictObject({
  devices: z.number().int().optional().describe("so many devices in all ResourceSlices"),
  taints: z.record(z.string(), z.array(z.string())).optional().describe("exactly these taints, by HCA"),
});

const reported = z.strictObject({
  ready: z.enum(["True", "False"]).optional().describe("status of the node's condition RDMAReady"),
  message: z.string().optional().describe("the condition's message must match"),
  events: z.record(z.string(), z.number().int()).optional().describe("how often: by `REASON Kind/name`"),
  labels: z.record(z.string(), z.string()).optional().describe("at least these, without their domain"),
});

const step = z.strictObject({
  say: z.string().describe("the story in a sentence"),
  port: z.strictObject({
    hca: z.string(),
    number: z.number().int().default(1),
    to: z.enum(["up", "down", "carrier-lost", "init"]),
  }).optional(),
  counter: z.strictObject({
    hca: z.string(),
    port: z.number().int().default(1),
    file: z.string().describe("counters/NAME or hw_counters/NAME"),
    to: z.number().int().min(0),
  }).optional().describe("a counter of a port has this value"),
  hca: z.strictObject({
    name: z.string(),
    to: z.enum(["gone", "back", "renamed"]),
    as: z.string().optional(),
    uverbs: z.number().int().optional(),
  }).optional(),
  swapNodes: z.tuple([z.string(), z.string()]).optional().describe("two HCAs swap their uverbs numbers"),
  vfs: z.strictObject({ pf: z.string(), count: z.number().int().min(0) }).optional(),
  admit: admit.optional(),
  release: z.string().optional(),
  kubelet: z.enum(["start", "stop", "restart"]).optional(),
  refuse: z.strictObject({ reason: z.string(), times: z.number().int().positive() }).optional(),
  plugin: z.enum(["start", "SIGHUP", "SIGTERM", "SIGKILL"]).optional(),
  claim: claim.optional(),
  unclaim: z.string().optional().describe("the pod of that claim is deleted"),
  published: published.optional(),
  reported: reported.optional(),
  health: z.strictObject({ device: z.string(), is: z.string(), message: z.string().optional() }).optional()
    .describe("what the pod's status says of a device"),
  api: z.enum(["up", "down"]).optional().describe("the API server"),
  config: z.unknown().optional().describe("the configuration file is replaced by this"),
  expect: seen.optional(),
  logs: z.string().optional().describe("the plugin's log must contain a line that matches"),
});

const scenario = z.strictObject({
  title: z.string(),
  host: z.enum(Object.keys(PRESETS) as [string, ...string[]]),
  flags: z.array(z.string()).default([]).describe("flags for the plugin besides those that put it on the fake host"),
  config: z.unknown().optional().describe("configuration file for the plugin"),
  watcher: z.boolean().default(false).describe("the kubelet runs its plugin watcher"),
  dra: z.boolean().default(false).describe("there is an API server, and the kubelet knows claims"),
  steps: z.array(step).min(1),
});

export type Scenario = z.infer<typeof scenario>;
export type Step = Scenario["steps"][number];
export type Seen = z.infer<typeof seen>;
export type Admit = z.infer<typeof admit>;
export type Claim = z.infer<typeof claim>;
export type Reported = z.infer<typeof reported>;
export type Published = z.infer<typeof published>;

const DIR = fileURLToPath(new URL("../scenarios", import.meta.url));

/** Names and titles of the built-in scenarios. */
export function builtIn(): readonly { readonly name: string; readonly title: string }[] {
  return readdirSync(DIR).filter((file) => file.endsWith(".yaml")).sort().map((file) => ({
    name: basename(file, ".yaml"),
    title: readScenario(join(DIR, file)).title,
  }));
}

/**
 * Reads a scenario by its built-in name or from a file.
 * @throws with the position of every mistake
 */
export function loadScenario(nameOrFile: string): Scenario {
  const known = builtIn().some((one) => one.name === nameOrFile);
  return readScenario(known ? join(DIR, `${nameOrFile}.yaml`) : nameOrFile);
}

function readScenario(path: string): Scenario {
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`Cannot read the scenario ${path}: ${(error as Error).message}`, { cause: error });
  }
  const result = scenario.safeParse(raw);
  if (!result.success) throw new Error(`The scenario ${path} has mistakes:\n${z.prettifyError(result.error)}`);
  return result.data;
}

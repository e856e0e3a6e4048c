/**
 * Plays a scenario step by step and checks after each step what the kubelet saw. Ends at the first difference.
 *
 * @module
 */
import { AdmissionError, type FakeKubelet, type ResourceState } from "../kubelet/kubelet.ts";
import { reported } from "./reported.ts";
import type { Admit, Scenario, Seen, Step } from "./scenario.ts";
import type { Stage } from "./stage.ts";

/** Result of one step. */
export interface Played {
  readonly say: string;
  readonly ok: boolean;
  /** Milliseconds from the step's action until the kubelet saw the expected state. */
  readonly ms: number;
  /** What the kubelet saw, one line each. */
  readonly saw: readonly string[];
  /** The difference from the expected state; null when there is none. */
  readonly fault: string | null;
}

/**
 * Timeout for the kubelet to see the expected state; generous, because machines can be slow and scenarios are not
 * benchmarks.
 */
const STEP_TIMEOUT_MS = 60_000;

/** Plays the steps and reports each. Returns true when all were as expected. */
export async function play(scenario: Scenario, stage: Stage, tell: (played: Played) => void): Promise<boolean> {
  for (const step of scenario.steps) {
    const start = performance.now();
    let saw: string[] = [];
    let fault: string | null = null;
    try {
      saw = await playStep(step, stage);
    } catch (error) {
      fault = error instanceof Error ? error.message : String(error);
    }
    tell({ say: step.say, ok: fault === null, ms: performance.now() - start, saw, fault });
    if (fault !== null) return false;
  }
  return true;
}

async function playStep(step: Step, stage: Stage): Promise<string[]> {
  const { kubelet } = stage;
  await stage.act(step);
  const saw: string[] = [];
  if (step.plugin === "SIGTERM") {
    const { code, signal } = await stage.plugin!.ended;
    if (code !== 0) throw new Error(`the plugin ended with status ${code ?? signal} and not with 0`);
    stage.plugin = null;
    saw.push("the plugin ended with status 0");
  }
  if (step.plugin === "SIGKILL") {
    await stage.plugin!.ended;
    stage.plugin = null;
    saw.push("the plugin has ended");
  }
  if (step.published !== undefined) saw.push(await whileItRuns(stage, stage.dra!.published(step.published)));
  if (step.reported !== undefined) saw.push(...await reported(stage.dra!.api, step.reported));
  if (step.claim !== undefined) saw.push(await stage.dra!.claim(kubelet, step.claim));
  if (step.health !== undefined) saw.push(await whileItRuns(stage, expectHealth(kubelet, step.health)));
  if (step.logs !== undefined) saw.push(`log: ${await stage.plugin!.logged(new RegExp(step.logs), STEP_TIMEOUT_MS)}`);
  if (step.expect !== undefined) saw.push(...await expectSeen(kubelet, step.expect, stage));
  if (step.admit !== undefined) saw.push(...await admitPod(kubelet, step.admit));
  return saw;
}

async function expectHealth(
  kubelet: FakeKubelet,
  { device, is, message }: NonNullable<Step["health"]>,
): Promise<string> {
  const now = () => kubelet.dra!.health("sim-node", device);
  const pattern = new RegExp(message ?? "");
  const what = `${device} to be ${is}`;
  await kubelet.dra!.waitFor(() => now()?.health === is && pattern.test(now()!.message), what, STEP_TIMEOUT_MS);
  return `pod status: ${device} ${now()!.health}${now()!.message === "" ? "" : `, ${now()!.message}`}`;
}

/** Waits for what the plugin is to bring about. @throws when the plugin, if there is one, ends first, with its log */
async function whileItRuns<T>(stage: Stage, holds: Promise<T>): Promise<T> {
  const { plugin } = stage;
  if (plugin === null) return await holds;
  const died = plugin.ended.then(({ code, signal }) => {
    throw new Error(`the plugin ended with status ${code ?? signal}; its log:\n${plugin.log.slice(-20).join("\n")}`);
  });
  try {
    return await Promise.race([holds, died]);
  } finally {
    for (const late of [holds, died]) late.catch(() => {});
  }
}

async function expectSeen(kubelet: FakeKubelet, seen: Seen, stage: Stage): Promise<string[]> {
  let fault: string | null = "";
  const holds = kubelet.waitFor((state) => {
    fault = difference(resourceOf(state.resources, seen.resource), seen);
    return fault === null;
  }, { timeoutMs: STEP_TIMEOUT_MS, what: JSON.stringify(seen) });
  try {
    await whileItRuns(stage, holds);
  } catch (error) {
    throw new Error(fault ? `${fault} (${(error as Error).message})` : (error as Error).message, { cause: error });
  }
  return [describe(resourceOf(kubelet.state().resources, seen.resource))];
}

function resourceOf(
  resources: Readonly<Record<string, ResourceState>>,
  name: string | undefined,
): ResourceState | null {
  const all = Object.values(resources);
  return name === undefined ? all.length === 1 ? all[0]! : null : resources[name] ?? null;
}

/** The first difference from the expectation; null when there is none. */
function difference(is: ResourceState | null, seen: Seen): string | null {
  if (is === null) {
    return seen.gone || seen.capacity === 0 ? null : `the kubelet does not know ${seen.resource ?? "the resource"}`;
  }
  const health = Object.fromEntries(is.devices.map((device) => [device.id, device.health]));
  const numa = Object.fromEntries(is.devices.map((device) => [device.id, device.numa]));
  const pairs: [string, unknown, unknown][] = [
    ["capacity", is.capacity, seen.capacity],
    ["allocatable", is.allocatable, seen.allocatable],
    ["devices", sorted(health), seen.devices && sorted(seen.devices)],
    ["numa", sorted(numa), seen.numa && sorted(seen.numa)],
    ["gone", is.endpoint === null, seen.gone],
  ];
  const wrong = pairs.find(([, has, wants]) => wants !== undefined && JSON.stringify(has) !== JSON.stringify(wants));
  return wrong === undefined ? null : `${wrong[0]} is ${JSON.stringify(wrong[1])} and not ${JSON.stringify(wrong[2])}`;
}

function sorted<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1);
}

function describe(is: ResourceState | null): string {
  if (is === null) return "the kubelet knows no such resource";
  const shown = is.devices.slice(0, 8).map((device) => {
    const nodes = device.numa.length === 0 ? "" : ` NUMA ${device.numa.join("+")}`;
    return `${device.id} ${device.health}${nodes}`;
  });
  const more = is.devices.length > 8 ? `, … ${is.devices.length - 8} more` : "";
  return `${is.name}: capacity ${is.capacity}, allocatable ${is.allocatable}${
    shown.length ? ` (${shown.join(", ")}${more})` : ""
  }`;
}

async function admitPod(kubelet: FakeKubelet, request: Admit): Promise<string[]> {
  const resource = request.resource ?? Object.keys(kubelet.state().resources)[0] ?? "?";
  try {
    const { ids, view, cdiDevices } = await kubelet.admit({ name: request.pod, resource, count: request.count });
    if (request.refused !== undefined) {
      throw new Error(`pod ${request.pod} got ${ids.join(", ")} but should have been rejected`);
    }
    const nodes = view.devices.map((device) => device.containerPath);
    const hcas = (view.envs.RDMA_HCAS ?? "").split(",").filter((name) => name !== "");
    const repeated = nodes.find((path, i) => nodes.indexOf(path) !== i);
    if (repeated !== undefined) throw new Error(`pod ${request.pod} got ${repeated} twice`);
    const uverbs = nodes.filter((path) => path.includes("/uverbs")).length;
    if (uverbs !== hcas.length) {
      throw new Error(`pod ${request.pod} got ${uverbs} uverbs nodes for ${hcas.length} HCAs`);
    }
    same(`device IDs of ${request.pod}`, ids, request.ids);
    same(`device nodes of ${request.pod}`, nodes, request.nodes);
    same(`HCAs of ${request.pod}`, hcas, request.hcas);
    same(`number of HCAs of ${request.pod}`, hcas.length, request.hcaCount);
    same(`CDI names of ${request.pod}`, cdiDevices, request.cdi);
    for (const [name, value] of Object.entries(request.env ?? {})) {
      same(`${name} of ${request.pod}`, view.envs[name], value);
    }
    const cdi = cdiDevices.length === 0 ? "" : `, by CDI ${cdiDevices.join(" ")}`;
    return [`pod ${request.pod} got ${ids.join(", ")}: ${nodes.join(" ")}, RDMA_HCAS=${hcas.join(",")}${cdi}`];
  } catch (error) {
    if (!(error instanceof AdmissionError) || request.refused === undefined) throw error;
    if (!new RegExp(request.refused).test(error.message)) {
      throw new Error(`pod ${request.pod} was refused with other words than /${request.refused}/: ${error.message}`, {
        cause: error,
      });
    }
    return [error.message];
  }
}

function same(what: string, has: unknown, wants: unknown): void {
  if (wants !== undefined && JSON.stringify(has) !== JSON.stringify(wants)) {
    throw new Error(`${what}: ${JSON.stringify(has)} and not ${JSON.stringify(wants)}`);
  }
}

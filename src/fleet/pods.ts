/**
 * What a pod asks for, what it has, and whether it is the plugin's. Pure.
 *
 * @module
 */
import type { HeldDevice, PluginFacts } from "./facts.ts";
import type { ApiContainer, ApiPod, ApiPodSpec, ApiPodStatus } from "./objects.ts";
import { count } from "../kubernetes/quantity.ts";

const NAME_LABEL = "app.kubernetes.io/name";
const VERSION_LABEL = "app.kubernetes.io/version";
/** The name that every manifest of the plugin gives it. */
const PLUGIN = "rdma-device-plugin";

/**
 * Devices by resource, as the scheduler counts them: containers and sidecars together, or the largest of the other init
 * containers with the sidecars before it.
 */
export function requestsOf(
  { containers = [], initContainers = [] }: ApiPodSpec,
  wanted: (resource: string) => boolean,
): Readonly<Record<string, number>> {
  const all = [...containers, ...initContainers].flatMap((one) => Object.keys(amounts(one)));
  const found: Record<string, number> = {};
  for (const resource of all) {
    if (Object.hasOwn(found, resource) || !wanted(resource)) continue;
    const of = (one: ApiContainer) => count(amounts(one)[resource]);
    let [sidecars, largest] = [0, 0];
    for (const one of initContainers) {
      if (one.restartPolicy === "Always") sidecars += of(one);
      else largest = Math.max(largest, sidecars + of(one));
    }
    const together = containers.reduce((sum, one) => sum + of(one), sidecars);
    const most = Math.max(together, largest);
    if (most > 0) found[resource] = most;
  }
  return found;
}

/** The API server makes requests of limits; of an extended resource both are the same. */
function amounts({ resources }: ApiContainer): Readonly<Record<string, string>> {
  return resources?.requests ?? resources?.limits ?? {};
}

/** Devices that the kubelet reports in the pod's status (feature gate ResourceHealthStatus, on since 1.36). */
export function heldDevices(
  { containerStatuses = [], initContainerStatuses = [] }: ApiPodStatus,
  driver: string,
  wanted: (resource: string) => boolean,
): readonly HeldDevice[] {
  const found: HeldDevice[] = [];
  for (const { allocatedResourcesStatus = [] } of [...containerStatuses, ...initContainerStatuses]) {
    for (const { name, resources = [] } of allocatedResourcesStatus) {
      // "claim:NAME/REQUEST" for what a claim has, whose devices are DRIVER/POOL/DEVICE.
      const claimed = name.startsWith("claim:");
      if (!claimed && !wanted(name)) continue;
      for (const { resourceID: id, health } of resources) {
        if (claimed && !id.startsWith(`${driver}/`)) continue;
        found.push({ resource: claimed ? driver : name, id, healthy: health !== "Unhealthy" });
      }
    }
  }
  return found;
}

/** Null for a pod that is not the plugin's. */
export function pluginOf({ metadata: { labels }, spec, status }: ApiPod): PluginFacts | null {
  if (labels?.[NAME_LABEL] !== PLUGIN) return null;
  const ready = status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false;
  return { version: labels[VERSION_LABEL] ?? versionOf(spec?.containers?.[0]?.image ?? ""), ready };
}

/** "0.1.0" of "registry:5000/rdma-device-plugin:0.1.0"; the beginning of the digest where there is no tag. */
function versionOf(image: string): string {
  const [name = "", digest] = image.split("@");
  const tag = /:([^:/]+)$/.exec(name)?.[1];
  return tag ?? digest?.slice(0, "sha256:".length + 8) ?? "?";
}

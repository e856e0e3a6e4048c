/**
 * The kubelet's checks of a registration before it dials the plugin: API version, resource name and endpoint name. The
 * rules are those of Kubernetes (extended resource names and qualified names); the messages are not.
 *
 * @module
 */
import { API_VERSION } from "../../src/kubelet/api.ts";

/** API versions that current kubelets accept. */
const SUPPORTED_VERSIONS: readonly string[] = [API_VERSION];
/** Quotas add this prefix to the name, so a name must be valid with it and must not have it. */
const QUOTA_PREFIX = "requests.";
const NAME_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const DNS_SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const MAX_NAME_PART = 63;
const MAX_PREFIX = 253;

/** The reason why a plugin with API `versions` cannot be served, or null. */
export function versionFault(versions: readonly string[]): string | null {
  if (versions.some((version) => SUPPORTED_VERSIONS.includes(version))) return null;
  const spoken = versions.length === 0 ? "none" : versions.map((version) => JSON.stringify(version)).join(", ");
  return `the plugin speaks device plugin API version ${spoken}, this kubelet supports [${SUPPORTED_VERSIONS}]`;
}

/** The reason why `name` is not an extended resource name ("domain/name"), or null. */
export function resourceNameFault(name: string): string | null {
  const fault = extendedNameFault(name);
  return fault === null ? null : `the resource name ${JSON.stringify(name)} is not an extended resource name: ${fault}`;
}

function extendedNameFault(name: string): string | null {
  if (!name.includes("/")) return "it has no domain in front of a slash";
  if (name.includes("kubernetes.io/")) return "names under kubernetes.io belong to Kubernetes itself";
  if (name.startsWith(QUOTA_PREFIX)) return `the prefix ${QUOTA_PREFIX} is reserved for quota`;
  const [domain, part, ...more] = name.split("/");
  if (domain === undefined || part === undefined || more.length > 0) return "it has more than one slash";
  const prefix = QUOTA_PREFIX + domain;
  if (prefix.length > MAX_PREFIX) return `its domain is longer than ${MAX_PREFIX - QUOTA_PREFIX.length} characters`;
  if (!DNS_SUBDOMAIN.test(prefix)) return "its domain is not a lower-case DNS name";
  if (part.length > MAX_NAME_PART) return `the part behind the slash is longer than ${MAX_NAME_PART} characters`;
  if (!NAME_PART.test(part)) {
    return "the part behind the slash must start and end with a letter or digit, with only - _ . between";
  }
  return null;
}

/** The reason why `endpoint` is not a file name in the device-plugins directory, or null. */
export function endpointFault(endpoint: string): string | null {
  if (endpoint === "") return "the endpoint is empty, it must be the file name of the plugin's socket";
  if (/[/\\]/.test(endpoint) || endpoint === "." || endpoint === "..") {
    return `the endpoint ${JSON.stringify(endpoint)} is a path, it must be a plain file name in the plugin directory`;
  }
  return null;
}

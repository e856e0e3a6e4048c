/**
 * Where the API server is and how this process identifies itself there.
 *
 * @module
 */
import { isIPv6 } from "node:net";

/** What a {@link file://./client.ts} needs to reach the API server. */
export interface ApiAccess {
  /** "https://10.96.0.1:443", without a path. */
  readonly server: string;
  /** PEM file with the authority that signed the server's certificate. */
  readonly caFile: string;
  /** File with the bearer token; read again for each request, because the kubelet rotates it. */
  readonly tokenFile: string;
}

/** Where the kubelet mounts a pod's service account. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
export const DEFAULT_CA_FILE = `${SERVICE_ACCOUNT}/ca.crt`;
export const DEFAULT_TOKEN_FILE = `${SERVICE_ACCOUNT}/token`;

/**
 * The address of the API server as pods of the cluster see it.
 *
 * @returns null outside a pod, where the two variables are not set
 */
export function inClusterServer(env: Readonly<Record<string, string | undefined>>): string | null {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT;
  if (host === undefined || host === "" || port === undefined || port === "") return null;
  return `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

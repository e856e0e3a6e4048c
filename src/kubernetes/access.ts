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

/** What makes a connection trusted, in the words of `node:tls`. */
export interface TlsSettings {
  /** PEM; the system's authorities without it. */
  readonly ca?: string;
  /** PEM of a client certificate with its key. */
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must have, where it is not that of the address. */
  readonly servername?: string;
  readonly rejectUnauthorized?: false;
}

/** What one request is sent with. */
export interface Credentials {
  readonly tls: TlsSettings;
  readonly headers: Readonly<Record<string, string>>;
}

/** Access whose credentials are more than a token in a file, such as a kubeconfig's. */
export interface CredentialSource {
  /** "https://10.96.0.1:443"; it may have a path, below which the API is. */
  readonly server: string;
  /** Whether answers shall be compressed on their way. */
  readonly compressed: boolean;
  /**
   * Asked before each request.
   *
   * @param refused those that the server has just refused with 401; null at the first try
   * @throws with a sentence for people when there are none
   */
  credentials(refused: Credentials | null): Promise<Credentials>;
}

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

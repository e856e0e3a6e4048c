/**
 * Kubeconfig files, as kubectl reads them: several are merged, the first that sets something counts, and paths are
 * relative to the file that they are in. Pure; {@link file://./kubeconfig_access.ts} reads what the files name.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { dirname, isAbsolute, join } from "node:path";
import { parse } from "yaml";

/** A file's text, and where it is. */
export interface KubeconfigFile {
  readonly path: string;
  readonly text: string;
}

/** A plugin that gives credentials: `client.authentication.k8s.io`. */
export interface ExecSettings {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly interactiveMode: "Never" | "IfAvailable" | "Always";
  readonly provideClusterInfo: boolean;
  readonly installHint: string | null;
}

/** What one context says. Of `…Data` and `…File`, the data counts. */
export interface ContextSettings {
  readonly context: string;
  readonly server: string;
  readonly caData: string | null;
  readonly caFile: string | null;
  readonly insecure: boolean;
  readonly serverName: string | null;
  readonly compressed: boolean;
  readonly certData: string | null;
  readonly certFile: string | null;
  readonly keyData: string | null;
  readonly keyFile: string | null;
  readonly token: string | null;
  readonly tokenFile: string | null;
  readonly username: string | null;
  readonly password: string | null;
  /** Headers of `as` and its companions. */
  readonly impersonation: Readonly<Record<string, string>>;
  readonly exec: ExecSettings | null;
  /** What a credential plugin is given of the cluster, besides what is above. */
  readonly clusterExtension: unknown;
}

/** A kubeconfig that cannot be used, with a sentence for people. */
export class KubeconfigError extends Error {
  override readonly name = "KubeconfigError";
}

type Fields = Readonly<Record<string, unknown>>;
type Kind = "clusters" | "users" | "contexts";

interface Entry {
  readonly fields: Fields;
  readonly path: string;
}

interface Merged {
  readonly current: string | null;
  readonly entries: Readonly<Record<Kind, ReadonlyMap<string, Entry>>>;
}

const INNER: Readonly<Record<Kind, string>> = { clusters: "cluster", users: "user", contexts: "context" };

/**
 * The settings of one context.
 *
 * @param context its name; that of `current-context` when null
 * @throws {KubeconfigError}
 */
export function contextSettings(files: readonly KubeconfigFile[], context: string | null): ContextSettings {
  const { current, entries } = merge(files);
  const paths = files.map((one) => one.path).join(", ");
  const name = context ?? current;
  if (name === null) {
    const names = [...entries.contexts.keys()].join(", ") || "none";
    throw new KubeconfigError(`${paths} names no current-context; choose one with --context (there are: ${names})`);
  }
  const chosen = named(entries, "contexts", name, paths).fields;
  const cluster = named(entries, "clusters", text(chosen.cluster) ?? "", paths);
  const user = text(chosen.user) === null ? null : named(entries, "users", text(chosen.user)!, paths);
  return { context: name, ...clusterSettings(cluster), ...userSettings(user) };
}

function merge(files: readonly KubeconfigFile[]): Merged {
  const entries = { clusters: new Map(), users: new Map(), contexts: new Map() };
  let current: string | null = null;
  for (const { path, text: content } of files) {
    const document = parsed(path, content);
    current ??= text(document["current-context"]);
    for (const kind of ["clusters", "users", "contexts"] as const) {
      for (const one of list(document[kind])) {
        const name = text(record(one).name);
        if (name === null || entries[kind].has(name)) continue;
        entries[kind].set(name, { fields: record(record(one)[INNER[kind]]), path });
      }
    }
  }
  return { current, entries };
}

function parsed(path: string, content: string): Fields {
  try {
    return record(parse(content));
  } catch (error) {
    throw new KubeconfigError(`${path} is no kubeconfig: ${(error as Error).message.split("\n")[0]}`);
  }
}

function named(entries: Merged["entries"], kind: Kind, name: string, paths: string): Entry {
  const found = entries[kind].get(name);
  if (found !== undefined) return found;
  const names = [...entries[kind].keys()].join(", ") || "none";
  throw new KubeconfigError(`${paths} has no ${INNER[kind]} ${JSON.stringify(name)} (there are: ${names})`);
}

function clusterSettings({ fields, path }: Entry) {
  const server = text(fields.server) ?? "";
  if (!/^https?:\/\//.test(server) || !URL.canParse(server)) {
    throw new KubeconfigError(`${path}: the cluster's server is ${JSON.stringify(server)}, not an https:// address`);
  }
  if (text(fields["proxy-url"]) !== null) {
    throw new KubeconfigError(
      `${path}: the cluster has a proxy-url, which is not supported; run \`kubectl proxy\` and name its address instead`,
    );
  }
  const insecure = fields["insecure-skip-tls-verify"] === true;
  const caData = text(fields["certificate-authority-data"]);
  const caFile = located(path, fields["certificate-authority"]);
  if (insecure && (caData !== null || caFile !== null)) {
    throw new KubeconfigError(`${path}: the cluster has both an authority and insecure-skip-tls-verify; remove one`);
  }
  const extension = list(fields.extensions).map(record)
    .find((one) => one.name === "client.authentication.k8s.io/exec")?.extension ?? null;
  return {
    server,
    caData: decoded(path, "certificate-authority-data", caData),
    caFile,
    insecure,
    serverName: text(fields["tls-server-name"]),
    compressed: fields["disable-compression"] !== true,
    clusterExtension: extension,
  };
}

function userSettings(entry: Entry | null) {
  const fields = entry?.fields ?? {};
  const path = entry?.path ?? "";
  if (fields["auth-provider"] !== undefined) {
    throw new KubeconfigError(`${path}: the user has an auth-provider, which Kubernetes has removed; use exec instead`);
  }
  return {
    certData: decoded(path, "client-certificate-data", text(fields["client-certificate-data"])),
    certFile: located(path, fields["client-certificate"]),
    keyData: decoded(path, "client-key-data", text(fields["client-key-data"])),
    keyFile: located(path, fields["client-key"]),
    token: text(fields.token),
    tokenFile: located(path, fields.tokenFile),
    username: text(fields.username),
    password: text(fields.password),
    impersonation: impersonation(fields, path),
    exec: fields.exec === undefined || fields.exec === null ? null : execSettings(record(fields.exec), path),
  };
}

/** More than one group or extra value would need a header that is there twice, which the client does not send. */
function impersonation(fields: Fields, path: string): Readonly<Record<string, string>> {
  const groups = list(fields["as-groups"]).map(String);
  if (groups.length > 1 || Object.keys(record(fields["as-user-extra"])).length > 0) {
    throw new KubeconfigError(`${path}: of a user's impersonation as, as-uid and one of as-groups are supported`);
  }
  const [user, uid, group] = [text(fields.as), text(fields["as-uid"]), groups[0] ?? null];
  return {
    ...user === null ? {} : { "impersonate-user": user },
    ...uid === null ? {} : { "impersonate-uid": uid },
    ...group === null ? {} : { "impersonate-group": group },
  };
}

function execSettings(fields: Fields, path: string): ExecSettings {
  const command = text(fields.command);
  if (command === null) throw new KubeconfigError(`${path}: the user's exec has no command`);
  const apiVersion = text(fields.apiVersion) ?? "";
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion)) {
    throw new KubeconfigError(
      `${path}: the user's exec has the apiVersion ${JSON.stringify(apiVersion)}; supported is ` +
        "client.authentication.k8s.io/v1, and v1beta1",
    );
  }
  const mode = text(fields.interactiveMode) ?? "IfAvailable";
  if (mode !== "Never" && mode !== "IfAvailable" && mode !== "Always") {
    throw new KubeconfigError(`${path}: the user's exec has the interactiveMode ${JSON.stringify(mode)}`);
  }
  return {
    apiVersion,
    // A bare name is searched for in PATH; a path is relative to the file.
    command: command.includes("/") ? located(path, command)! : command,
    args: list(fields.args).map(String),
    env: list(fields.env).map(record).map(({ name, value }) => ({ name: String(name), value: String(value) })),
    interactiveMode: mode,
    provideClusterInfo: fields.provideClusterInfo === true,
    installHint: text(fields.installHint),
  };
}

function located(path: string, value: unknown): string | null {
  const found = text(value);
  return found === null || isAbsolute(found) ? found : join(dirname(path), found);
}

function decoded(path: string, field: string, value: string | null): string | null {
  if (value === null) return null;
  const plain = Buffer.from(value, "base64").toString("utf8");
  if (!plain.includes("-----BEGIN ")) throw new KubeconfigError(`${path}: ${field} is not PEM in base64`);
  return plain;
}

function record(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Fields : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Null for what is missing, empty or no text. */
function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

/**
 * The command line: one table defines the parser's options, the text of `--help` and the reference
 * in README (`help.ts`).
 *
 * @module
 */
import { parseArgs, type ParseArgsConfig } from "@std/cli";
import type { MistakeCode } from "../config/mistake_codes.ts";
import type { Problem } from "../config/mistakes.ts";
import { nearest } from "../text/nearest.ts";
import { printable } from "../text/printable.ts";
import {
  badAddress,
  badApi,
  badDriverName,
  badInterface,
  badPath,
  badResourceName,
  badSeconds,
} from "./flag_values.ts";

/** One flag. */
export interface Flag {
  readonly type: "string" | "boolean";
  /** Placeholder for the value in the help; strings only. */
  readonly value?: string;
  readonly default?: string;
  /** Allowed values; any when missing. */
  readonly oneOf?: readonly string[];
  /** For other values: the problem with a value, as the end of a sentence, or null. */
  readonly check?: (value: string) => string | null;
  /** Code of what `check` refuses; invalid-format when missing. */
  readonly code?: MistakeCode;
  readonly help: string;
  /** Commands that accept it; all when missing. */
  readonly commands?: readonly Command[];
}

export const COMMANDS = ["run", "list", "doctor", "fleet", "validate", "version"] as const;
export type Command = typeof COMMANDS[number];

/** All flags, in the order of the help. */
export const FLAGS = {
  "log-level": {
    type: "string",
    value: "LEVEL",
    default: "info",
    oneOf: ["error", "warn", "info", "debug"],
    help: "how much to log: error, warn, info or debug",
  },
  "log-format": { type: "string", value: "FORMAT", default: "text", oneOf: ["text", "json"], help: "text or json" },
  "resource-name": {
    type: "string",
    value: "NAME",
    default: "tencent.com/rdma",
    check: badResourceName,
    code: "invalid-name",
    help: "extended resource that the HCAs are offered as",
  },
  "master": {
    type: "string",
    value: "IFNAME",
    check: badInterface,
    help: "offer only the virtual functions of this network interface",
  },
  "config": {
    type: "string",
    value: "FILE",
    help: "resources from a file (YAML or JSON; the peers' formats too) instead of -resource-name and -master",
  },
  "resource-prefix": {
    type: "string",
    value: "DOMAIN",
    help: "prefix for resources of a peer's configuration without one",
    commands: ["run", "list", "doctor", "validate"],
  },
  "cdi": { type: "boolean", help: "answer with CDI names for every resource", commands: ["run", "list", "doctor"] },
  "kubelet-dir": {
    type: "string",
    value: "DIR",
    default: "/var/lib/kubelet/device-plugins",
    check: badPath,
    help: "directory of kubelet.sock and of the plugin's sockets",
  },
  "plugins-registry": {
    type: "string",
    value: "DIR",
    check: badPath,
    help: "the plugin watcher's directory (default: plugins_registry beside the kubelet-dir)",
  },
  "registration": {
    type: "string",
    value: "HOW",
    default: "auto",
    oneOf: ["auto", "socket", "watcher"],
    help: "auto, socket (kubelet.sock) or watcher (plugins_registry); auto uses the watcher where its directory exists",
    commands: ["run"],
  },
  "cdi-dir": {
    type: "string",
    value: "DIR",
    default: "/var/run/cdi",
    check: badPath,
    help: "directory for CDI specs",
  },
  "sysfs-root": { type: "string", value: "DIR", default: "/sys", check: badPath, help: "the machine's sysfs" },
  "dev-root": { type: "string", value: "DIR", default: "/dev", check: badPath, help: "the machine's /dev" },
  "rescan": {
    type: "string",
    value: "SECONDS",
    check: badSeconds,
    help: "how often to scan the machine without an event (default 30); 0 for never",
    commands: ["run", "list"],
  },
  "events": {
    type: "string",
    value: "SOURCE",
    default: "auto",
    help: "auto (netlink), poll (none: scans by the clock), or a file: every change of it causes a scan",
    commands: ["run", "list"],
  },
  "http": {
    type: "string",
    value: "ADDR",
    check: badAddress,
    help: "serve metrics, probes and a status page, on 127.0.0.1:9178, [::1]:9178, or :9178 for every address",
    commands: ["run"],
  },
  "pod-resources": {
    type: "boolean",
    help: "ask the kubelet which pods hold the devices (read only)",
    commands: ["run", "list"],
  },
  "pod-resources-socket": {
    type: "string",
    value: "PATH",
    default: "/var/lib/kubelet/pod-resources/kubelet.sock",
    check: badPath,
    help: "socket of the kubelet's PodResources API",
    commands: ["run", "list"],
  },
  "api": {
    type: "string",
    value: "API",
    default: "device-plugin",
    oneOf: ["device-plugin", "dra"],
    help: "offer the HCAs through the device-plugin API or through dynamic resource allocation (docs/dra.md)",
    commands: ["run", "list", "doctor"],
  },
  "dra-driver-name": {
    type: "string",
    value: "NAME",
    default: "rdma.tencent.com",
    check: badDriverName,
    help: "name of the DRA driver: what DeviceClasses select by",
    commands: ["run", "list", "doctor", "fleet"],
  },
  "node-name": {
    type: "string",
    value: "NAME",
    help: "name of this Node object (default: $NODE_NAME, else the host's name)",
    commands: ["run", "doctor"],
  },
  "pod-uid": {
    type: "string",
    value: "UID",
    // In the environment of the pod, and so of every command that is run there.
    help: "UID of this pod: two plugins may serve DRA at once then, as in a rolling update",
  },
  "plugins-dir": {
    type: "string",
    value: "DIR",
    default: "/var/lib/kubelet/plugins",
    check: badPath,
    help: "where the DRA driver's socket and its prepared claims are",
    commands: ["run", "list", "doctor"],
  },
  "kube-api": {
    type: "string",
    value: "URL",
    check: badApi,
    help: "the API server, for DRA, events and labels (default: that of the cluster the pod runs in)",
    commands: ["run", "doctor", "fleet"],
  },
  "kube-token-file": {
    type: "string",
    value: "FILE",
    default: "/var/run/secrets/kubernetes.io/serviceaccount/token",
    check: badPath,
    help: "bearer token for the API server",
    commands: ["run", "doctor", "fleet"],
  },
  "kube-ca-file": {
    type: "string",
    value: "FILE",
    default: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
    check: badPath,
    help: "authority that signed the API server's certificate",
    commands: ["run", "doctor", "fleet"],
  },
  "kubernetes-events": {
    type: "boolean",
    help: "write events on the node and on pods that hold a device, and the node condition RDMAReady",
    commands: ["run", "doctor"],
  },
  "node-labels": {
    type: "boolean",
    help: "label the node with its link layers, rates and firmware, through the API server",
    commands: ["run", "doctor"],
  },
  "nfd-features": {
    type: "string",
    value: "DIR",
    check: badPath,
    help: "write the same labels into this directory of node-feature-discovery's local features",
    commands: ["run", "doctor"],
  },
  "kubeconfig": {
    type: "string",
    value: "FILE",
    check: badPath,
    help: "which cluster, and as whom (default: $KUBECONFIG, else ~/.kube/config, else the pod's own cluster)",
    commands: ["fleet"],
  },
  "context": { type: "string", value: "NAME", help: "context of the kubeconfig", commands: ["fleet"] },
  "nodes": { type: "string", value: "NAMES", help: "only these nodes, such as gpu-*,login-1", commands: ["fleet"] },
  "selector": { type: "string", value: "LABELS", help: "only nodes with these labels", commands: ["fleet"] },
  "resource": {
    type: "string",
    value: "NAMES",
    help:
      "only these resources, such as rdma/* (default: those of the plugin, and names with rdma, roce, hca, infiniband)",
    commands: ["fleet"],
  },
  "down": { type: "boolean", help: "only nodes on which something is down", commands: ["fleet"] },
  "json": {
    type: "boolean",
    help: "print one JSON object, for scripts",
    commands: ["list", "doctor", "fleet", "validate"],
  },
  "watch": { type: "boolean", help: "keep running, and print again after every change", commands: ["list", "fleet"] },
  "help": { type: "boolean", help: "print this text" },
  "version": { type: "boolean", help: "print the version" },
} as const satisfies Readonly<Record<string, Flag>>;

type Table = typeof FLAGS;
export type FlagName = keyof Table;
type Strings = { [K in FlagName]: Table[K] extends { type: "string" } ? K : never }[FlagName];
type WithDefault = { [K in FlagName]: Table[K] extends { default: string } ? K : never }[FlagName];

/** The values of all flags. */
export type Values =
  & { readonly [K in WithDefault]: string }
  & { readonly [K in Exclude<Strings, WithDefault>]?: string }
  & { readonly [K in Exclude<FlagName, Strings>]: boolean };

/** A parsed command line, or the reason why it is wrong. */
export type Parsed =
  | {
    readonly ok: true;
    readonly command: Command;
    readonly values: Values;
    readonly positionals: readonly string[];
    /** Flags that were set on the command line or in the environment. */
    readonly given: ReadonlySet<FlagName>;
  }
  | (Problem & { readonly ok: false });

/** Environment variable of a flag: RDMA_DEVICE_PLUGIN_LOG_LEVEL for --log-level. The command line takes precedence. */
export function variableOf(flag: string): string {
  return `RDMA_DEVICE_PLUGIN_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Parses a command line. Flags have one dash or two and their value after `=` or a space; users of the upstream Go
 * plugin write `-log-level debug`.
 */
export function parseCommandLine(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Parsed {
  const args = argv.map((arg) => arg === "-h" ? "--help" : /^-[a-z][a-z]/i.test(arg) ? `-${arg}` : arg);
  const options: ParseArgsConfig["options"] = Object.fromEntries(
    Object.entries(FLAGS).map(([name, flag]) => [name, { type: flag.type }]),
  );
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true });
  const values: Record<string, string | boolean> = {};
  const positionals: string[] = [];
  const ofEnvironment = new Set<string>();
  for (const [name, flag] of Object.entries<Flag>(FLAGS)) {
    const value = env[variableOf(name)];
    if (value === undefined || value === "") continue;
    if (flag.type === "boolean" && !["true", "false"].includes(value)) {
      return no("wrong-type", name, `${variableOf(name)} is ${JSON.stringify(value)}, but takes true or false`);
    }
    values[name] = flag.type === "boolean" ? value === "true" : value;
    ofEnvironment.add(name);
  }
  for (const token of tokens ?? []) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    ofEnvironment.delete(token.name);
    const flag = Object.hasOwn(FLAGS, token.name) ? (FLAGS as Readonly<Record<string, Flag>>)[token.name] : undefined;
    if (flag === undefined) {
      const near = nearest(token.name, Object.keys(FLAGS));
      const instead = near === null ? "see --help" : `did you mean --${near}? See --help`;
      return no("unknown-flag", token.name, `There is no flag ${token.rawName}`, instead);
    }
    if (flag.type === "boolean") {
      if (token.value !== undefined && !["true", "false"].includes(token.value)) {
        const message = `--${token.name} takes no value, but got ${JSON.stringify(token.value)}`;
        return no("unexpected-argument", token.name, message);
      }
      values[token.name] = token.value !== "false";
    } else if (
      token.value === undefined || token.value === "" || (!token.inlineValue && token.value.startsWith("--"))
    ) {
      return no("missing", token.name, `--${token.name} needs a value: --${token.name} ${flag.value}`);
    } else values[token.name] = token.value;
  }
  return finish(values, positionals, ofEnvironment);
}

function finish(
  values: Record<string, string | boolean>,
  positionals: string[],
  ofEnvironment: ReadonlySet<string>,
): Parsed {
  const command = (values.version ? "version" : positionals[0] ?? "run") as Command;
  if (!COMMANDS.includes(command)) {
    return no(
      "unknown-command",
      null,
      `There is no command ${JSON.stringify(command)}`,
      `there are ${COMMANDS.join(", ")}`,
    );
  }
  const rest = positionals.slice(1);
  const most = command === "validate" ? 1 : 0;
  if (rest.length > most && !values.help) {
    return no("unexpected-argument", null, `${command} takes no argument ${JSON.stringify(rest[most])}`);
  }
  // The environment of a pod is that of every command that is run there, and says what only some of them have.
  for (const name of ofEnvironment) {
    const { commands }: Flag = FLAGS[name as FlagName];
    if (commands?.includes(command) === false) delete values[name];
  }
  const given = new Set(Object.keys(values) as FlagName[]);
  for (const [name, flag] of Object.entries<Flag>(FLAGS)) {
    const value = values[name];
    const asksOnly = values.help === true || values.version === true;
    if (value !== undefined && !asksOnly && flag.commands !== undefined && !flag.commands.includes(command)) {
      const hint = `it belongs to ${flag.commands.join(", ")}`;
      return no("unknown-flag", name, `--${name} is not a flag of ${command}`, hint);
    }
    if (typeof value === "string") {
      if (flag.oneOf !== undefined && !flag.oneOf.includes(value)) {
        const message = `--${name} is ${JSON.stringify(value)}, but takes one of ${flag.oneOf.join(", ")}`;
        return no("unknown-value", name, message);
      }
      const wrong = flag.check?.(value) ?? null;
      if (wrong !== null) {
        return no(flag.code ?? "invalid-format", name, `--${name} is ${JSON.stringify(value)}, ${wrong}`);
      }
    }
    values[name] ??= flag.type === "boolean" ? false : flag.default ?? "";
    if (values[name] === "") delete values[name];
  }
  if (given.has("config") && given.has("api")) {
    const hint = "in a file each resource has its own api";
    return no("conflict", "api", "--config and --api both say how HCAs are offered", hint);
  }
  if (given.has("config") && (given.has("master") || given.has("resource-name"))) {
    const other = given.has("master") ? "master" : "resource-name";
    return no("conflict", other, `--config and --${other} both define resources`, "use one of them");
  }
  return { ok: true, command, values: values as unknown as Values, positionals: rest, given };
}

function no(code: MistakeCode, flag: string | null, message: string, hint: string | null = null): Parsed {
  // Values in the message are quoted, but some quoted characters could still affect a terminal.
  const path = flag === null ? "" : printable(`--${flag}`);
  return { ok: false, code, path, message: printable(message), hint };
}

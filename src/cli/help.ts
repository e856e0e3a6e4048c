/**
 * The flags for people: the text of `--help` and the reference in README.
 *
 * @module
 */
import { type Command, COMMANDS, type Flag, FLAGS } from "./flags.ts";

/** Description of each command for the help. */
const COMMAND_HELP: Readonly<Record<Command, string>> = {
  run: "find the HCAs, register with the kubelet, serve pods (the default)",
  list: "print the HCAs with their resources, or why they have none",
  doctor: "check the requirements of a working setup; change nothing",
  fleet: "print the adapters of all nodes of a cluster, and what is down where, since when, under which pods",
  validate: "check a configuration file: validate FILE",
  version: "print the version",
};

/** The help text, at most 100 columns wide. */
export function helpText(): string {
  const commands = COMMANDS.map((name) => `  ${name.padEnd(10)} ${COMMAND_HELP[name]}`);
  const flags = Object.entries<Flag>(FLAGS).map(([name, flag]) => {
    const left = `  --${name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
    const right = flag.default === undefined ? flag.help : `${flag.help} (default ${flag.default})`;
    return `${left.padEnd(28)} ${right}`;
  });
  return [
    "rdma-device-plugin [COMMAND] [FLAGS]: offers a node's RDMA adapters to Kubernetes.",
    "",
    "Commands:",
    ...commands,
    "",
    "Flags (one dash or two; each can also be set as RDMA_DEVICE_PLUGIN_<FLAG> in the environment):",
    ...flags,
    "",
  ].join("\n");
}

/** The flags as a Markdown table for README. */
export function flagTable(): string {
  const rows = Object.entries<Flag>(FLAGS).map(([name, flag]) => {
    const value = flag.value === undefined ? "" : ` ${flag.value}`;
    const only = flag.commands === undefined ? "" : ` (${flag.commands.join(", ")})`;
    return `| \`--${name}${value}\` | ${
      flag.default === undefined ? "" : `\`${flag.default}\``
    } | ${flag.help}${only} |`;
  });
  return ["| flag | default | meaning |", "| --- | --- | --- |", ...rows].join("\n");
}

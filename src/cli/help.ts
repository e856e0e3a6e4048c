/**
 * The flags for people: the text of `--help` and the reference in README.
 *
 * @module
 */
import { wrap } from "../text/table.ts";
import { type Command, COMMANDS, type Flag, FLAGS } from "./flags.ts";

/** Description of each command for the help. */
const COMMAND_HELP: Readonly<Record<Command, string>> = {
  run: "find the HCAs, register with the kubelet, serve pods (the default)",
  list: "print the HCAs with their resources, or why they have none",
  doctor: "check the requirements of a working setup; change nothing",
  fleet: "print the adapters of all nodes of a cluster, and what is down where and since when",
  validate: "check a configuration file: validate FILE",
  version: "print the version",
};

const WIDTH = 100;
/** Where the descriptions of flags begin. */
const INDENT = " ".repeat(29);

/** The help text, at most 100 columns wide. */
export function helpText(): string {
  const commands = COMMANDS.map((name) => `  ${name.padEnd(10)} ${COMMAND_HELP[name]}`);
  const flags = Object.entries<Flag>(FLAGS).flatMap(([name, flag]) => {
    const left = `  --${name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
    const usual = flag.default === undefined ? "" : ` (default ${flag.default})`;
    const only = flag.commands === undefined ? "" : ` [${flag.commands.join(", ")}]`;
    const [first = "", ...rest] = wrap(flag.help + usual + only, WIDTH, INDENT);
    return left.length < INDENT.length - 1
      ? [left.padEnd(INDENT.length) + first.trimStart(), ...rest]
      : [left, first, ...rest];
  });
  return [
    "rdma-device-plugin [COMMAND] [FLAGS]: offers a node's RDMA adapters to Kubernetes.",
    "",
    "Commands:",
    ...commands,
    "",
    "Flags (one dash or two; each can also be set as RDMA_DEVICE_PLUGIN_<FLAG> in the environment), and",
    "in brackets the commands that have them where not all do:",
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

/**
 * Codes of mistakes in a configuration file or on a command line. They are stable; the sentences beside them may change.
 *
 * @module
 */

/** What kind of mistake or warning it is, with the meaning of each code. */
export const MISTAKE_CODES = {
  // Of the file itself
  "unreadable-file": "The file does not exist, cannot be read by this user, or is not a file of UTF-8 text",
  "not-well-formed": "The text is neither YAML nor JSON: an open bracket, a tab as indentation, an alias of nothing",
  "not-json": "The file is named .json, and only YAML readers can read it (a warning)",
  "not-a-config": "The file is something else: a Kubernetes manifest, or one entry without its list",
  "too-large": "More than is read or than the kubelet takes: characters, levels, entries of a list, VFs, devices",
  "not-shown": "There are more mistakes than are listed",
  // Of keys and values
  "unknown-key":
    "The key does not exist at this place; in the formats of the other plugins a warning, and it is ignored",
  "duplicate-key": "The key is given twice; in the formats of the other plugins a warning, and the last one is used",
  "missing": "A key, the value of a flag or an argument is missing",
  "empty": "The file or a list has no content",
  "wrong-type": "The value is of another type: text instead of a list, `yes` instead of `true`",
  "unknown-value": "The value is not one of those that are allowed",
  "invalid-format": "The text does not have the form that is expected: an ID, an address, a path, a duration, a name",
  "invalid-name": "The kubelet would reject the name of the resource",
  "out-of-range": "The number or the duration is too small or too large",
  "wrong-counter":
    "`health.errors` names what does not count errors, or (a warning) a counter that no known driver has",
  "unsupported": "The format or YAML has it, and this plugin does not support it",
  // Of several keys together
  "duplicate-name": "Two resources have the same name",
  "duplicate-path": "Two device nodes or mounts have the same path in the container",
  "conflict": "Two keys or flags contradict each other, or one has no meaning with the value of the other",
  "nothing-left": "No HCA can remain in the resource, or no resource in the file",
  "no-effect": "The setting does nothing, or the entry is left out (a warning)",
  // Of the command line alone
  "unknown-flag": "The flag does not exist, or the command does not have it",
  "unknown-command": "The command does not exist",
  "unexpected-argument": "The command takes no further argument, or the flag no value",
  "no-such-interface": "The network interface of `--master` does not exist",
  "no-vfs": "The network interface of `--master` has no virtual functions",
  "no-kubeconfig": "`fleet` finds no kubeconfig, or one that cannot be used",
} as const;
export type MistakeCode = keyof typeof MISTAKE_CODES;

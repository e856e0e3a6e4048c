/**
 * Checks the paths of `expose`. Shell patterns are rejected, because they are not expanded: the container would be
 * given a file of that literal name, which no host has, and could not start.
 *
 * @module
 */
import { withoutPlaceholders } from "../pool/extra_nodes.ts";

/** The problem with a device path; null when it is valid. */
export function devicePathProblem(path: string): string | null {
  const rest = withoutPlaceholders(path);
  if (/[{}]/.test(rest)) {
    return "braces can only contain {hca}, {pci} and {class:NAME}: the HCA's name, its PCI address, and the device of a sysfs " +
      "class on its PCI function";
  }
  return globProblem(
    rest,
    "name each device, or write {hca} where the HCA's name stands, or {class:NAME}; /dev/hfi1_N and /dev/cxiN are added automatically",
  );
}

/** The problem with a mount path; null when it is valid. */
export function mountPathProblem(path: string): string | null {
  if (/[{}]/.test(path)) return "braces are for devices; a mount is the same for every HCA";
  return globProblem(path, "name each path, or the directory above");
}

function globProblem(path: string, instead: string): string | null {
  return /[*?[\]]/.test(path) ? `*, ? and [] are not expanded; ${instead}` : null;
}

/**
 * Paths of `expose`: one of each, or for devices one for each HCA. What a shell would expand is refused, because nothing
 * here does: the container would be given a file of that very name, which no host has, and could not start.
 *
 * @module
 */
import { withoutPlaceholders } from "../pool/extra_nodes.ts";

/** What is wrong with a device's path; null when nothing is. */
export function devicePathProblem(path: string): string | null {
  const rest = withoutPlaceholders(path);
  if (/[{}]/.test(rest)) {
    return "in braces {hca}, {pci} and {class:NAME} are known: the HCA's name, its PCI address, and the device of a sysfs " +
      "class on its PCI function";
  }
  return globProblem(
    rest,
    "name each device, or write {hca} where the HCA's name stands, or {class:NAME}; /dev/hfi1_N and /dev/cxiN come without being named",
  );
}

/** What is wrong with a mount's path; null when nothing is. */
export function mountPathProblem(path: string): string | null {
  if (/[{}]/.test(path)) return "braces are for devices; a mount is the same for every HCA";
  return globProblem(path, "name each path, or the directory above");
}

function globProblem(path: string, instead: string): string | null {
  return /[*?[\]]/.test(path) ? `*, ? and [] are not expanded; ${instead}` : null;
}

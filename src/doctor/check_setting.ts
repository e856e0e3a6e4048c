/**
 * Checks of the start of the plugin: Deno's permissions and the configuration.
 *
 * @module
 */
import { formatMistakes } from "../config/mistakes.ts";
import type { Facts } from "./facts.ts";
import { type Finding, problem, unchecked, warning } from "./finding.ts";

/**
 * Deno's permissions apply before the kernel's. Checks that they prevent are listed, so that "ok" means that a check
 * was made.
 */
export function sandbox({ refused, hidden, sysfsRoot }: Facts): Finding[] {
  const findings = refused.map((dir) =>
    problem(
      "sandbox",
      `Deno's permissions do not let this process use ${dir}`,
      "the plugin cannot see its content, and offers nothing or cannot register",
      dir === "/sys" && sysfsRoot === "/sys"
        ? "Deno opens nothing below /sys without --allow-all: mount the host's /sys at /host/sys and set " +
          "--sysfs-root=/host/sys (as the manifest does), or run with -A"
        : "add --allow-read and --allow-write for it, or use the path in the permission set of deno.json; " +
          "on the node itself: deno run -A",
    )
  );
  if (hidden.length === 0) return findings;
  return [
    ...findings,
    unchecked("sandbox", `not checked, because Deno's permissions do not allow it: ${hidden.join("; ")}`),
  ];
}

export function configuration({ configWarnings }: Facts): Finding[] {
  return configWarnings.map((one) => ({
    ...warning(
      "config",
      formatMistakes([one]),
      "the configuration is valid, but probably not as intended",
      "see docs/configuration.md",
    ),
    code: one.code,
  }));
}

/**
 * Checks of how the plugin was started: what its own sandbox lets it see, and what its configuration says.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { type Finding, problem, unchecked, warning } from "./finding.ts";

/** Deno's permissions come before the kernel's. What they hide from the doctor is named, so that "ok" means "looked". */
export function sandbox({ refused, hidden, sysfsRoot }: Facts): Finding[] {
  const findings = refused.map((dir) =>
    problem(
      "sandbox",
      `Deno's permissions do not let this process use ${dir}`,
      "whatever is there, the plugin does not see it, and offers nothing or cannot register",
      dir === "/sys" && sysfsRoot === "/sys"
        ? "Deno opens nothing below /sys without --allow-all: mount the host's /sys at /host/sys and give " +
          "--sysfs-root=/host/sys (as the manifest does), or run with -A"
        : "give --allow-read and --allow-write for it, or use the path that the permission set in deno.json names; " +
          "on the node itself: deno run -A",
    )
  );
  if (hidden.length === 0) return findings;
  return [
    ...findings,
    unchecked("sandbox", `not looked at, because Deno's sandbox hides it here: ${hidden.join("; ")}`),
  ];
}

export function configuration({ configWarnings }: Facts): Finding[] {
  return configWarnings.map((sentence) =>
    warning(
      "config",
      sentence,
      "the configuration works, but perhaps not as it was meant",
      "see docs/configuration.md, and validate FILE for each place",
    )
  );
}

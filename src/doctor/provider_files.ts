/**
 * The provider libraries of the image that this runs in.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { isSandboxed } from "./rights.ts";

/** Debian's, Fedora's and Alpine's places for provider libraries. */
const LIBRARY_DIRS = [
  "/usr/lib/x86_64-linux-gnu/libibverbs",
  "/usr/lib/aarch64-linux-gnu/libibverbs",
  "/usr/lib/powerpc64le-linux-gnu/libibverbs",
  "/usr/lib64/libibverbs",
  "/usr/lib/libibverbs",
];
/** Here a file per provider ("driver mlx5") tells libibverbs to load it; it does not look at the libraries themselves. */
const CONFIG_DIR = "/etc/libibverbs.d";

/** What is installed. */
export interface ProviderFiles {
  /** File names: "libmlx5-rdmav34.so". */
  readonly libraries: readonly string[];
  /** File names: "mlx5.driver"; null when they cannot be seen. */
  readonly drivers: readonly string[] | null;
}

/** `missing`: libibverbs is not installed. `hidden`: Deno's sandbox does not let us see. */
export function readProviders(): ProviderFiles | "missing" | "hidden" {
  const seen = LIBRARY_DIRS.map(namesIn);
  const libraries = seen.find((names) => Array.isArray(names));
  if (libraries === undefined) return seen.includes("hidden") ? "hidden" : "missing";
  const drivers = namesIn(CONFIG_DIR);
  return { libraries, drivers: drivers === "hidden" ? null : drivers ?? [] };
}

function namesIn(dir: string): string[] | "hidden" | null {
  try {
    return readdirSync(dir);
  } catch (error) {
    return isSandboxed(error) ? "hidden" : null;
  }
}

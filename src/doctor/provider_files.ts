/**
 * The provider libraries in the image.
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { isSandboxed } from "./rights.ts";

/** Directories of provider libraries in Debian, Fedora and Alpine. */
const LIBRARY_DIRS = [
  "/usr/lib/x86_64-linux-gnu/libibverbs",
  "/usr/lib/aarch64-linux-gnu/libibverbs",
  "/usr/lib/powerpc64le-linux-gnu/libibverbs",
  "/usr/lib64/libibverbs",
  "/usr/lib/libibverbs",
];
/**
 * A file per provider ("driver mlx5") makes libibverbs load it; libibverbs does not search for the libraries
 * themselves.
 */
const CONFIG_DIR = "/etc/libibverbs.d";

/** The installed files. */
export interface ProviderFiles {
  /** File names: "libmlx5-rdmav34.so". */
  readonly libraries: readonly string[];
  /** File names: "mlx5.driver"; null when the directory cannot be read. */
  readonly drivers: readonly string[] | null;
}

/** `missing`: libibverbs is not installed. `hidden`: Deno's permissions do not allow to check. */
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

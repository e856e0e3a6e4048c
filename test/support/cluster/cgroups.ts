/**
 * The cgroups of a node's containers, in version 1 (one tree a controller) and 2 (one tree) alike.
 *
 * @module
 */
import { readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = "/sys/fs/cgroup";

/** Ends every process in the cgroup of that name and below, and removes it; one that is not there is removed already. */
export async function killAndRemoveCgroup(name: string): Promise<void> {
  for (let i = 0; i < 250; i++) {
    const directories = treesOf(name).flatMap((tree) => deepestFirst(tree));
    if (directories.length === 0) return;
    for (const directory of directories) {
      for (const pid of processesOf(directory)) kill(pid);
      tryRemove(directory);
    }
    await delay(20);
  }
  throw new Error(`Cannot remove the cgroup ${name}: ${treesOf(name).join(", ")}`);
}

/** Every process in the cgroup of that name and below. */
export function processesIn(name: string): number[] {
  return [...new Set(treesOf(name).flatMap(deepestFirst).flatMap(processesOf))];
}

/** Directories of that cgroup that there are, one a controller. */
export function treesOf(name: string): string[] {
  const roots = [ROOT, ...namesIn(ROOT).map((controller) => join(ROOT, controller))];
  return roots.map((root) => join(root, name)).filter((tree) => namesInOrNull(tree) !== null);
}

function deepestFirst(directory: string): string[] {
  return [...namesIn(directory).flatMap((name) => deepestFirst(join(directory, name))), directory];
}

function processesOf(directory: string): number[] {
  try {
    return readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n").filter((line) => line !== "").map(Number);
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Has ended meanwhile.
  }
}

function tryRemove(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // A process of it is still ending.
  }
}

function namesIn(directory: string): string[] {
  return namesInOrNull(directory) ?? [];
}

function namesInOrNull(directory: string): string[] | null {
  try {
    return readdirSync(directory, { withFileTypes: true }).filter((one) => one.isDirectory()).map((one) => one.name);
  } catch {
    return null;
  }
}

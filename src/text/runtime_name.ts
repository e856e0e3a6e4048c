/**
 * The runtime that the plugin runs on, for the doctor and the metrics.
 *
 * @module
 */
import process from "node:process";

/** Name and version: "Deno 2.9.3", "Node.js 20.19.0". */
export function runtimeName(): string {
  const { deno, node } = process.versions;
  return deno === undefined ? `Node.js ${node}` : `Deno ${deno}`;
}

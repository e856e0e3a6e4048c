/**
 * `kubelet_internal_checkpoint`: keeps the device IDs of running containers across restarts of the kubelet. The format
 * is the kubelet's except for the checksum (the real one hashes a Go memory dump), so neither can read the other's
 * files.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Allocation } from "./allocations.ts";

/** The only file in the device-plugins directory that the kubelet keeps when it starts. */
export const CHECKPOINT = "kubelet_internal_checkpoint";

/** The data kept across a restart. */
export interface Checkpoint {
  readonly allocations: readonly Allocation[];
  /** Resource name → IDs of its healthy devices. */
  readonly registered: Readonly<Record<string, readonly string[]>>;
}

const ids = z.array(z.string());
const FILE = z.object({
  Data: z.object({
    PodDeviceEntries: z.array(z.object({
      PodUID: z.string(),
      ContainerName: z.string(),
      ResourceName: z.string(),
      DeviceIDs: z.record(z.string(), ids),
      AllocResp: z.string(),
    })).nullable(),
    RegisteredDevices: z.record(z.string(), ids),
  }),
  Checksum: z.number(),
});

/** Replaces the checkpoint in `dir` atomically, as the kubelet does: a hidden temporary file, then a rename. */
export function writeCheckpoint(dir: string, checkpoint: Checkpoint): void {
  const data = {
    PodDeviceEntries: checkpoint.allocations.map((allocation) => ({
      PodUID: allocation.pod,
      ContainerName: allocation.container,
      ResourceName: allocation.resource,
      DeviceIDs: allocation.perNuma,
      AllocResp: Buffer.from(allocation.response).toString("base64"),
    })),
    RegisteredDevices: checkpoint.registered,
  };
  const staged = join(dir, `.${CHECKPOINT}.new`);
  writeFileSync(staged, JSON.stringify({ Data: data, Checksum: checksum(data) }));
  renameSync(staged, join(dir, CHECKPOINT));
}

/**
 * Reads the checkpoint in `dir`; null when there is none.
 *
 * @throws Error when the file is torn, has another format, or a wrong checksum; the real kubelet logs that and
 * continues without it.
 */
export function readCheckpoint(dir: string): Checkpoint | null {
  const path = join(dir, CHECKPOINT);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const { Data, Checksum } = parse(path, text);
  if (checksum(Data) !== Checksum) throw new Error(`Cannot use ${path}: its checksum does not match its contents`);
  return {
    allocations: (Data.PodDeviceEntries ?? []).map((entry) => ({
      pod: entry.PodUID,
      container: entry.ContainerName,
      resource: entry.ResourceName,
      perNuma: entry.DeviceIDs,
      response: Buffer.from(entry.AllocResp, "base64"),
    })),
    registered: Data.RegisteredDevices,
  };
}

function parse(path: string, text: string): z.infer<typeof FILE> {
  try {
    return FILE.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`Cannot use ${path}: it is not a device manager checkpoint`, { cause });
  }
}

/** FNV-1a, 32 bits, over the JSON text. */
function checksum(data: unknown): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(JSON.stringify(data))) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

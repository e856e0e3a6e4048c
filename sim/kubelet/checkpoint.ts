/**
 * `kubelet_internal_checkpoint`: how device IDs of running containers survive a kubelet restart. The file's shape is
 * the kubelet's own; only the checksum differs (the real one hashes a Go memory dump), so the two do not read each
 * other's files.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Allocation } from "./allocations.ts";

/** The one file in the device-plugins directory that a starting kubelet keeps. */
export const CHECKPOINT = "kubelet_internal_checkpoint";

/** What is kept over a restart. */
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

/** Replaces the checkpoint in `dir` in one step, as the kubelet does: a hidden file beside it, then a rename. */
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
 * Reads the checkpoint of `dir`; null when there is none.
 *
 * @throws Error when the file is torn, of another shape, or its checksum is wrong; the real kubelet logs that and goes
 * on without it.
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
  if (checksum(Data) !== Checksum) throw new Error(`Cannot use ${path}: its checksum does not fit its contents`);
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

/**
 * The feature gates of the API server behind the features of slices. Pure.
 *
 * @module
 */
import type { Features } from "./devices.ts";

/** The feature gates behind the features. */
export const GATES: Readonly<Record<keyof Features, string>> = {
  taints: "DRADeviceTaints",
  sharing: "DRAConsumableCapacity",
  counters: "DRAPartitionableDevices",
};

/** The gates of the features that are missing. */
export function gatesOff(features: Features): readonly string[] {
  return (Object.keys(features) as (keyof Features)[]).filter((one) => !features[one]).map((one) => GATES[one]);
}

/** The features without those whose fields were dropped. */
export function without(features: Features, dropped: ReadonlySet<keyof Features>): Features {
  return {
    taints: features.taints && !dropped.has("taints"),
    sharing: features.sharing && !dropped.has("sharing"),
    counters: features.counters && !dropped.has("counters"),
  };
}

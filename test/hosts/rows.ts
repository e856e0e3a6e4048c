/**
 * The table: machines and configuration files as people have them, and what is right on each. A row is played through
 * `list --json`, through a kubelet, and once more after the plugin was started again. The rows are in rows.yaml.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { LeftOutCode, UnhealthyCode } from "../../src/pool/reasons.ts";
import type { BuiltHost, HostPlan } from "./build.ts";
import type { Counts } from "./node.ts";

/** What a container gets for these device IDs. */
export interface Given {
  readonly resource: string;
  readonly ids: readonly string[];
  /** Device nodes below /dev, in order: "infiniband/uverbs0". */
  readonly nodes?: readonly string[];
  /** Variables and their values; null: it must not be set. */
  readonly env?: Readonly<Record<string, string | null>>;
}

export interface Row {
  /** What is special, as the name of the test. */
  readonly what: string;
  readonly host: string | HostPlan;
  readonly config?: string;
  readonly flags?: readonly string[];
  /** Changes the tree before the plugin sees it. */
  readonly prepare?: (host: BuiltHost) => void;
  /** Devices and healthy ones by resource: "4/4". */
  readonly devices: Counts;
  /** Names of HCAs that are in each resource, comma-separated; resources that are left out are not compared. */
  readonly members?: Readonly<Record<string, string>>;
  readonly given?: readonly Given[];
  /** By HCA, the code of a reason why it is Unhealthy or left out. */
  readonly reasons?: Readonly<Record<string, UnhealthyCode | LeftOutCode>>;
}

export const ROWS = parse(readFileSync(new URL("rows.yaml", import.meta.url), "utf8")) as readonly Row[];

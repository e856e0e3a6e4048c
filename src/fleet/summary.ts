/**
 * The fleet in a few numbers: what there is of each resource, firmware and plugin version. Pure.
 *
 * @module
 */
import { natural } from "../text/natural.ts";
import type { Fleet, NodeRow } from "./rows.ts";
import type { ResourceUse } from "./usage.ts";

export interface ResourceTotal extends ResourceUse {
  readonly nodes: number;
}

export interface VersionCount {
  readonly version: string;
  /** HCAs with this firmware; 0 for versions of the plugin. */
  readonly hcas: number;
  readonly nodes: number;
  /** Some of the nodes, to begin with. */
  readonly examples: readonly string[];
}

export interface Summary {
  /** Nodes with adapters. */
  readonly nodes: number;
  /** Those on which something is down. */
  readonly down: number;
  readonly withoutAdapters: number;
  /** Of the nodes that say how many. */
  readonly hcas: number;
  readonly portsActive: number;
  /** Of the nodes that say both. */
  readonly portsAll: number;
  /** Pods on something that is down. */
  readonly podsAffected: number;
  readonly resources: readonly ResourceTotal[];
  /** The most frequent one first. */
  readonly firmware: readonly VersionCount[];
  readonly plugins: readonly VersionCount[];
}

const MOST_EXAMPLES = 3;

export function isDown(row: NodeRow): boolean {
  return row.problems.length > 0;
}

export function summaryOf({ rows, without }: Fleet): Summary {
  const sum = (of: (row: NodeRow) => number | null) => rows.reduce((all, row) => all + (of(row) ?? 0), 0);
  const affected = new Set(rows.flatMap((row) => row.problems.flatMap((one) => one.podsCertain ? one.pods : [])));
  return {
    nodes: rows.length,
    down: rows.filter(isDown).length,
    withoutAdapters: without,
    hcas: sum((row) => row.hcas),
    portsActive: sum((row) => row.ports.active),
    portsAll: sum((row) => row.ports.all),
    podsAffected: affected.size,
    resources: resourceTotals(rows),
    firmware: versions(rows, (row) => Object.entries(row.firmware)),
    plugins: versions(rows, (row) => [...new Set(row.plugins.map((one) => one.version))].map((one) => [one, 0])),
  };
}

function resourceTotals(rows: readonly NodeRow[]): readonly ResourceTotal[] {
  const totals = new Map<string, ResourceTotal>();
  for (const one of rows.flatMap((row) => row.resources)) {
    const key = `${one.name} ${one.api}`;
    const before = totals.get(key);
    totals.set(key, {
      name: one.name,
      api: one.api,
      nodes: (before?.nodes ?? 0) + 1,
      capacity: (before?.capacity ?? 0) + one.capacity,
      allocatable: (before?.allocatable ?? 0) + one.allocatable,
      used: one.used === null ? null : (before?.used ?? 0) + one.used,
    });
  }
  return [...totals.values()].sort((a, b) => natural(a.name, b.name));
}

function versions(
  rows: readonly NodeRow[],
  of: (row: NodeRow) => readonly (readonly [string, number])[],
): readonly VersionCount[] {
  const found = new Map<string, { hcas: number; nodes: number; examples: string[] }>();
  for (const row of rows) {
    for (const [version, hcas] of of(row)) {
      const one = found.get(version) ?? { hcas: 0, nodes: 0, examples: [] };
      found.set(version, one);
      one.hcas += hcas;
      one.nodes++;
      if (one.examples.length < MOST_EXAMPLES) one.examples.push(row.name);
    }
  }
  return [...found].map(([version, one]) => ({ version, ...one }))
    .sort((a, b) => b.nodes - a.nodes || natural(a.version, b.version));
}

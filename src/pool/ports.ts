/**
 * Selects the ports of an HCA for a resource. Pure.
 *
 * @module
 */
import type { Hca, Port } from "../hca/types.ts";
import { carriesRdma, match } from "./match.ts";
import type { ResourceSpec } from "./spec.ts";

/**
 * Ports that the resource selects, limited to those that can carry RDMA if any of the HCA can. For a member that is
 * kept because a value is unknown: every port that can carry RDMA.
 */
export function selectedPorts(spec: Pick<ResourceSpec, "select" | "exclude">, hca: Hca): readonly Port[] {
  const able = hca.ports.filter(carriesRdma);
  const all = able.length > 0 ? able : hca.ports;
  const meant = spec.select.length === 0 ? all : union(spec.select.map((selector) => match(selector, hca)));
  const not = union(spec.exclude.map((selector) => match(selector, hca)));
  const ports = all.filter((port) => meant.includes(port) && !not.includes(port));
  return ports.length > 0 ? ports : all;
}

function union(matches: readonly ReturnType<typeof match>[]): readonly Port[] {
  return matches.flatMap((one) => "ports" in one ? one.ports : []);
}

/**
 * Every situation, in an order that keeps the number of deployments small.
 *
 * @module
 */
import { DRA } from "./dra.ts";
import { FLEET } from "./fleet.ts";
import { HEALTH } from "./health.ts";
import { MANIFESTS } from "./manifests.ts";
import { OBSERVE } from "./observe.ts";
import { PODS } from "./pods.ts";
import { RESTARTS } from "./restarts.ts";
import { RECORDING } from "./recording.ts";
import { REPORTS } from "./reports.ts";
import type { Situation } from "./situation.ts";
import { TOPOLOGY } from "./topology.ts";
import { UPDATES } from "./updates.ts";

export const SITUATIONS: readonly Situation[] = [
  ...MANIFESTS,
  ...PODS,
  ...HEALTH,
  ...RESTARTS,
  ...TOPOLOGY,
  ...OBSERVE,
  ...UPDATES,
  ...FLEET,
  ...DRA,
  ...REPORTS,
  ...RECORDING,
];

/**
 * Every situation, in an order that keeps the number of deployments small.
 *
 * @module
 */
import { HEALTH } from "./health.ts";
import { PODS } from "./pods.ts";
import { RESTARTS } from "./restarts.ts";
import type { Situation } from "./situation.ts";

export const SITUATIONS: readonly Situation[] = [...PODS, ...HEALTH, ...RESTARTS];

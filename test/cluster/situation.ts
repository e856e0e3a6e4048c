/**
 * One thing that happens on a cluster and what must be true then.
 *
 * @module
 */
import type { Stage } from "./stage.ts";

export interface Situation {
  readonly name: string;
  /** Played with every supported version of Kubernetes, not only with the default one. */
  readonly core?: boolean;
  /** The oldest minor version of the kubelet that can do it by default. */
  readonly since?: number;
  play(stage: Stage): Promise<void>;
}

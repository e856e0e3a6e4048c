/**
 * Whether the state of any port has changed since it was scanned: the question of polls.
 *
 * @module
 */
import { startDeadline } from "./deadline.ts";
import { inLanes, PORTS_AT_ONCE } from "./lanes.ts";
import { aboutPorts, type LateAnswers } from "./late_answers.ts";
import { hasChanged } from "./port.ts";
import type { Hca } from "./types.ts";

interface Scanned {
  readonly hca: Hca;
  readonly incarnation: string;
}

/**
 * Asks all ports of these HCAs at the same time.
 *
 * @param classDir `class/infiniband` of sysfs
 * @param deadlineMs how long their firmware may take, in milliseconds
 * @returns the first change, for people; null for none
 * @throws {OutOfFiles}
 */
export async function changedPort(
  scanned: readonly Scanned[],
  classDir: string,
  late: LateAnswers,
  deadlineMs: number,
): Promise<string | null> {
  // One that has not answered yet is known to hang, and is scanned when it does.
  const asked = scanned.map(({ hca, incarnation }) => ({ hca, about: aboutPorts(hca, incarnation) }))
    .filter(({ about }) => !late.isPending(about));
  using deadline = startDeadline(deadlineMs);
  const answers = await Promise.all(asked.map(({ hca, about }) => {
    const dir = `${classDir}/${hca.name}/ports`;
    const answer = inLanes(hca.ports, PORTS_AT_ONCE, (port) => hasChanged(port, `${dir}/${port.number}`));
    return late.inTime(about, answer, deadline.passed);
  }));
  for (const [i, { hca: { name, ports } }] of asked.entries()) {
    const changed = answers[i] ?? null;
    if (changed === null) return `${name} does not answer`;
    const at = changed.indexOf(true);
    if (at >= 0) return `${name} port ${ports[at]!.number} changed its state`;
  }
  return null;
}

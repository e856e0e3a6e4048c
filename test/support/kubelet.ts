/**
 * What tests, benchmarks and tools ask of a fake kubelet.
 *
 * @module
 */
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { FakeKubelet, type FakeKubeletOptions } from "../../sim/mod.ts";

/** The resource that a plugin without a configuration offers. */
export const RESOURCE = DEFAULT_SPEC.name;

/** A fake kubelet that listens. */
export async function fakeKubelet(dir: string, options: Partial<FakeKubeletOptions> = {}): Promise<FakeKubelet> {
  const kubelet = new FakeKubelet({ dir, ...options });
  await kubelet.start();
  return kubelet;
}

/** Waits until pods could be given `n` devices of the resource. */
export async function offered(kubelet: FakeKubelet, n: number, resource = RESOURCE): Promise<void> {
  const what = `${n} devices of ${resource}`;
  await kubelet.waitFor((state) => state.resources[resource]?.allocatable === n, { what });
}

/** How many times the kubelet saw something, of that resource or of any. */
export function count(kubelet: FakeKubelet, kind: FakeKubelet["history"][number]["kind"], resource?: string): number {
  return kubelet.history.filter((event) =>
    event.kind === kind && (resource === undefined || ("resource" in event && event.resource === resource))
  ).length;
}

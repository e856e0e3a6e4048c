/**
 * The part of a stage that only stories with DRA have: an API server, a scheduler for claims, and pods that have them.
 *
 * @module
 */
import { join } from "node:path";
import type { ResourceClaim } from "../../src/kubernetes/resource_api.ts";
import { release, schedule } from "../api_server/scheduler.ts";
import { CLAIMS, FakeApiServer, NODES, SLICES } from "../api_server/server.ts";
import type { FakeKubelet } from "../kubelet/kubelet.ts";
import type { Claim, Published } from "./scenario.ts";

const DRIVER = "rdma.tencent.com";
const NODE = "sim-node";

export class DraStage {
  readonly api: FakeApiServer;

  private constructor(api: FakeApiServer) {
    this.api = api;
  }

  static async set(dir: string): Promise<DraStage> {
    const api = await FakeApiServer.start(join(dir, "serviceaccount"));
    api.store.create(NODES, { metadata: { name: NODE } });
    return new DraStage(api);
  }

  /** What the kubelet does to the node's slices when it starts, and when a driver stays away. */
  wipe(): void {
    for (const slice of this.api.slices) this.api.store.delete(SLICES, slice.metadata.name!);
  }

  /** Flags that a plugin needs to find all this. */
  flags(dir: string): readonly string[] {
    const { server, caFile, tokenFile } = this.api.access;
    return [
      "--node-name",
      NODE,
      "--kube-api",
      server,
      "--kube-ca-file",
      caFile,
      "--kube-token-file",
      tokenFile,
      "--plugins-dir",
      join(dir, "kubelet/plugins"),
      "--pod-resources-socket",
      join(dir, "kubelet/pod-resources/kubelet.sock"),
    ];
  }

  /** A pod with a claim, and what it got; a line for people. @throws when that is not what the step says */
  async claim(kubelet: FakeKubelet, step: Claim): Promise<string> {
    const known = this.api.store.get(CLAIMS, `default/${step.name}`) as unknown as ResourceClaim | null;
    const claim = step.again ? known : schedule(this.api, step.name, [{
      count: step.count,
      ...step.where === undefined ? {} : { where: step.where },
      ...step.shares === undefined ? {} : { shares: step.shares },
      tolerate: step.tolerate,
    }]);
    if (claim === null) {
      if (step.pending) return `claim ${step.name} is pending: no device that is free and without a taint fits`;
      throw new Error(`claim ${step.name} is pending and should have been allocated`);
    }
    if (step.pending) throw new Error(`claim ${step.name} was allocated and should be pending: ${devicesOf(claim)}`);
    const { uid = "" } = claim.metadata;
    const one = { namespace: "default", name: step.name, uid, driver: DRIVER };
    try {
      const { view, devices } = await kubelet.dra!.runPod(step.name, [one]);
      if (step.refused !== undefined) throw new Error(`claim ${step.name} was prepared but should have been rejected`);
      const nodes = view.devices.map((node) => node.containerPath).sort();
      const hcas = (view.envs.RDMA_HCAS ?? "").split(",");
      same(`device nodes of ${step.name}`, nodes, step.nodes?.toSorted());
      same(`HCAs of ${step.name}`, hcas, step.hcas);
      const ids = devices.flatMap((device) => device.cdi_device_ids ?? []).map((id) => id.replace(`${uid}-`, ""));
      return `pod ${step.name} got ${devicesOf(claim)}: ${nodes.join(" ")}, by CDI ${ids.join(" ")}`;
    } catch (error) {
      const { message } = error as Error;
      if (step.refused === undefined || !new RegExp(step.refused).test(message)) throw error;
      return message;
    }
  }

  /** The pod is deleted, and its claim with it. */
  async unclaim(kubelet: FakeKubelet, name: string): Promise<void> {
    await kubelet.dra!.removePod(name);
    release(this.api, name);
  }

  /** Waits for the slices to be so; gives a line for people. */
  async published(wanted: Published): Promise<string> {
    const devices = () => this.api.slices.flatMap((one) => one.spec.devices ?? []);
    const taints = () =>
      Object.fromEntries(
        devices().filter((one) => (one.taints ?? []).length > 0)
          .map((one) => [
            one.attributes?.rdmaDevice?.string ?? one.name,
            one.taints!.map((taint) => taint.key.split("/")[1]!),
          ]),
      );
    await this.api.waitFor(
      () =>
        (wanted.devices === undefined || devices().length === wanted.devices) &&
        (wanted.taints === undefined || JSON.stringify(taints()) === JSON.stringify(wanted.taints)),
      `ResourceSlices with ${JSON.stringify(wanted)}`,
      60_000,
    );
    const tainted = Object.entries(taints()).map(([hca, keys]) => `${hca} ${keys.join("+")}`).join(", ");
    const count = this.api.slices.length;
    return `${devices().length} devices in ${count} ResourceSlice${count === 1 ? "" : "s"}` +
      `${tainted === "" ? "" : `, taints: ${tainted}`}`;
  }
}

function devicesOf(claim: ResourceClaim): string {
  return (claim.status?.allocation?.devices?.results ?? []).map((one) => one.device).join(", ");
}

function same(what: string, has: unknown, wants: unknown): void {
  if (wants !== undefined && JSON.stringify(has) !== JSON.stringify(wants)) {
    throw new Error(`${what}: ${JSON.stringify(has)} and not ${JSON.stringify(wants)}`);
  }
}

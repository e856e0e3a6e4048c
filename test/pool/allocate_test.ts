import { deepEqual, equal, match } from "@std/assert";
import { allocate, type Outcome } from "../../src/pool/allocate.ts";
import { hca, HOST, poolState, port, spec } from "../support/hcas.ts";

function granted(outcome: Outcome) {
  if (!outcome.ok) throw new Error(outcome.message);
  return outcome.grant;
}
const paths = (outcome: Outcome) => granted(outcome).nodes.map((node) => node.hostPath.replace("/dev/infiniband/", ""));

Deno.test("allocate() hands over uverbs, umad and issm of the HCA, and rdma_cm once", () => {
  const ib = hca(0, { ports: [port(1, { umad: "umad0", issm: "issm0" }), port(2, { umad: "umad1", issm: "issm1" })] });
  const outcome = allocate(poolState(spec(), [ib, hca(2)]), HOST, ["mlx5_2", "mlx5_0"]);
  deepEqual(paths(outcome), ["uverbs0", "umad0", "issm0", "umad1", "issm1", "uverbs2", "umad2", "rdma_cm"]);
  deepEqual(new Set(granted(outcome).nodes.map((node) => node.permissions)), new Set(["rw"]));
});

Deno.test("allocate() requires nothing but uverbs", () => {
  const efa = hca(0, { ports: [port(1)] });
  deepEqual(paths(allocate(poolState(spec(), [efa]), { ...HOST, rdmaCm: false }, ["mlx5_0"])), ["uverbs0"]);
  deepEqual(paths(allocate(poolState(spec(), [efa]), { ...HOST, knem: true }, ["mlx5_0"])), [
    "uverbs0",
    "rdma_cm",
    "/dev/knem",
  ]);
});

Deno.test("allocate() decides for each container on its own", () => {
  const both = poolState(spec(), [hca(0), hca(1)]);
  deepEqual(paths(allocate(both, HOST, ["mlx5_0"])), ["uverbs0", "umad0", "rdma_cm"]);
  deepEqual(paths(allocate(both, HOST, ["mlx5_1"])), ["uverbs1", "umad1", "rdma_cm"]);
});

Deno.test("allocate() refuses unknown and unhealthy IDs with a sentence that says which", () => {
  const down = hca(1, { ports: [port(1, { state: "DOWN", physState: "Polling" })] });
  const both = poolState(spec(), [hca(0), down]);
  const unknown = allocate(both, HOST, ["mlx5_0", "mlx5_9"]);
  equal(unknown.ok, false);
  if (!unknown.ok) {
    equal(unknown.reason, "unknown");
    match(unknown.message, /tencent\.com\/rdma has no device "mlx5_9"; it has mlx5_0, mlx5_1/);
  }
  const unhealthy = allocate(both, HOST, ["mlx5_1"]);
  equal(unhealthy.ok, false);
  if (!unhealthy.ok) {
    equal(unhealthy.reason, "unhealthy");
    match(unhealthy.message, /"mlx5_1" is Unhealthy: port 1 is DOWN \(Polling\)/);
  }
});

Deno.test("allocate() of a share hands over the whole pool, or the one HCA of the share", () => {
  const of = (kind: "all" | "one") =>
    poolState(spec({ mode: { kind: "shared", shares: 3, of: kind } }), [hca(0), hca(1)]);
  deepEqual(paths(allocate(of("all"), HOST, ["2"])), ["uverbs0", "umad0", "uverbs1", "umad1", "rdma_cm"]);
  deepEqual(paths(allocate(of("one"), HOST, ["mlx5_1::2"])), ["uverbs1", "umad1", "rdma_cm"]);
  const unknown = allocate(of("one"), HOST, ["mlx5_9::0"]);
  match(
    unknown.ok ? "" : unknown.message,
    /has no device "mlx5_9::0"; it has mlx5_0::0, mlx5_0::1, mlx5_0::2, mlx5_1::0/,
  );
  for (const id of ["3", "-1", "01", "1e0", "mlx5_0"]) equal(allocate(of("all"), HOST, [id]).ok, false, id);
  for (const id of ["mlx5_0::3", "mlx5_0", "mlx5_0::", "mlx5_9::0", "::0"]) {
    equal(allocate(of("one"), HOST, [id]).ok, false, id);
  }
});

Deno.test("allocate() of a whole pool leaves out an HCA that has no node now", () => {
  const shared = poolState(spec({ mode: { kind: "shared", shares: 1, of: "all" } }), [
    hca(0, { uverbs: null }),
    hca(1),
  ]);
  deepEqual(paths(allocate(shared, HOST, ["0"])), ["uverbs1", "umad1", "rdma_cm"]);
});

Deno.test("allocate() names the HCAs in variables, and hints for NCCL and UCX only when asked", () => {
  const plain = granted(allocate(poolState(spec(), [hca(0), hca(1)]), HOST, ["mlx5_0", "mlx5_1"])).env;
  equal(plain.RDMA_HCAS, "mlx5_0,mlx5_1");
  equal(plain.RDMA_HCAS_TENCENT_COM_RDMA, "mlx5_0,mlx5_1");
  equal(plain.RDMA_PCI_ADDRESSES, "0000:00:00.0,0000:01:00.0");
  equal(plain.RDMA_NETDEVS, "eth0,eth1");
  equal(plain.NCCL_IB_HCA, undefined);
  const hinted = spec({ env: { ...spec().env, nccl: true, ucx: true, extra: { A: "b" } } });
  const env = granted(allocate(poolState(hinted, [hca(0)]), HOST, ["mlx5_0"])).env;
  equal(env.NCCL_IB_HCA, "=mlx5_0:1");
  equal(env.UCX_NET_DEVICES, "mlx5_0:1");
  equal(env.A, "b");
});

Deno.test("allocate() injects PCIDEVICE variables in the SR-IOV plugin's form", () => {
  const sriov = spec({
    name: "intel.com/sriov-rdma",
    ids: "pci",
    env: { ...spec().env, pcidevice: true, pcideviceInfo: { "*": { zone: "a" }, "0000:01:00.0": { rail: "1" } } },
  });
  const env = granted(allocate(poolState(sriov, [hca(1)]), HOST, ["0000:01:00.0"])).env;
  equal(env.PCIDEVICE_INTEL_COM_SRIOV_RDMA, "0000:01:00.0");
  deepEqual(JSON.parse(env.PCIDEVICE_INTEL_COM_SRIOV_RDMA_INFO!), {
    "0000:01:00.0": {
      generic: { deviceID: "0000:01:00.0" },
      rdma: {
        rdma_dev: "mlx5_1",
        uverbs: "/dev/infiniband/uverbs1",
        umad: "/dev/infiniband/umad1",
        rdma_cm: "/dev/infiniband/rdma_cm",
      },
      extraInfo: { zone: "a", rail: "1" },
    },
  });
});

Deno.test("allocate() adds extra devices and mounts, optional ones only where the host has them", () => {
  const device = (hostPath: string, optional: boolean) => ({
    hostPath,
    containerPath: hostPath,
    permissions: "r",
    optional,
  });
  const mounts = [{ hostPath: "/opt/ofed", containerPath: "/opt/ofed", readOnly: true }];
  const extra = spec({
    expose: { ...spec().expose, devices: [device("/dev/a", false), device("/dev/b", true)], mounts },
  });
  const host = { ...HOST, has: (path: string) => path === "/dev/a" };
  const outcome = allocate(poolState(extra, [hca(0)]), host, ["mlx5_0"]);
  deepEqual(paths(outcome), ["uverbs0", "umad0", "rdma_cm", "/dev/a"]);
  deepEqual(granted(outcome).mounts, mounts);
});

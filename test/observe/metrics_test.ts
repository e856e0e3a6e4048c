import { deepEqual, equal, match, ok } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PRESETS } from "../../sim/host/host.ts";
import { FAMILIES, PLUGIN_FAMILIES } from "../../src/observe/metrics_table.ts";
import { PortCounters } from "../../src/hca/port_counters.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import { draSpec } from "../support/dra.ts";
import { after, hca, HOST, snapshot } from "../support/hcas.ts";
import { needs } from "../support/need.ts";
import { temporaryDir, within } from "../support/temp.ts";
import { RESOURCE } from "../support/kubelet.ts";
import { pod, rig, servePods, withCounters } from "../support/rig.ts";
import { run } from "../support/run.ts";

const VFS = PRESETS["connectx-roce-vfs"];

/** Series of a text by name and labels, and the names of its families. */
function parse(text: string): { readonly series: ReadonlyMap<string, number>; readonly families: ReadonlySet<string> } {
  const lines = text.split("\n").filter((line) => line !== "");
  const series = lines.filter((line) => !line.startsWith("#")).map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))] as const;
  });
  const families = lines.filter((line) => line.startsWith("# TYPE ")).map((line) => line.split(" ")[2]!);
  equal(new Set(families).size, families.length, "a family is written twice");
  equal(new Map(series).size, series.length, "a series is written twice");
  return { series: new Map(series), families: new Set(families) };
}

Deno.test("/metrics tells of HCAs, ports, devices, the kubelet and the process", async () => {
  await using plugin = await rig({ host: VFS });
  await plugin.registered();
  const admitted = await plugin.kubelet.admit({ name: "pod-1", resource: RESOURCE, count: 2 });
  await plugin.kubelet.allocate(RESOURCE, [["no-such-device"]]).then(() => ok(false, "answered"), () => {});
  await plugin.host.setAttribute("mlx5_0", "ports/1/counters/port_xmit_data", "1000");
  await plugin.host.setAttribute("mlx5_0", "ports/1/counters/symbol_error", "7");
  await plugin.host.setAttribute("mlx5_0", "ports/1/counters/link_downed", "N/A (no PMA)");
  await plugin.host.setAttribute("mlx5_0", "ports/1/hw_counters/np_cnp_sent", "18446744073709551615");
  await plugin.host.carrierLost("mlx5_1", 1);
  await plugin.state(
    (state) => state.inventory?.states.get(RESOURCE)?.deviceStates.get("mlx5_1")?.healthy === false,
    "mlx5_1 is Unhealthy",
  );
  const got = await plugin.get("/metrics");
  equal(got.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
  const { series } = parse(got.body);
  const is = (name: string, value: number) => equal(series.get(name), value, name);

  is("rdma_device_plugin_hcas", 10);
  is('rdma_device_plugin_hca_resources{hca="mlx5_0"}', 1);
  is('rdma_port_state{hca="mlx5_0",port="1"}', 4);
  is('rdma_port_state{hca="mlx5_1",port="1"}', 1);
  is('rdma_port_rate_bytes_per_second{hca="mlx5_0",port="1"}', 12_500_000_000);
  is('rdma_port_xmit_data_bytes_total{hca="mlx5_0",port="1"}', 4_000);
  is('rdma_port_symbol_errors_total{hca="mlx5_0",port="1"}', 7);
  equal(series.has('rdma_port_link_downed_total{hca="mlx5_0",port="1"}'), false, "a counter that is no number");
  is('rdma_port_hw_total{hca="mlx5_0",port="1",counter="np_cnp_sent"}', 2 ** 64);
  equal([...series.keys()].some((name) => name.includes("lifespan")), false);

  is(`rdma_device_plugin_devices{resource="${RESOURCE}",health="Healthy"}`, 9);
  is(`rdma_device_plugin_devices{resource="${RESOURCE}",health="Unhealthy"}`, 1);
  is(`rdma_device_plugin_device_changes_total{resource="${RESOURCE}",to="Healthy"}`, 10);
  is(`rdma_device_plugin_device_changes_total{resource="${RESOURCE}",to="Unhealthy"}`, 1);
  is('rdma_device_plugin_hca_unhealthy{hca="mlx5_1",code="port-down"}', 1);
  equal([...series.keys()].filter((name) => name.startsWith("rdma_device_plugin_hca_unhealthy{")).length, 1);
  is('rdma_port_state_changes_total{hca="mlx5_0",port="1"}', 0);
  is('rdma_port_state_changes_total{hca="mlx5_1",port="1"}', 1);
  is(`rdma_device_plugin_registered{resource="${RESOURCE}"}`, 1);
  is(`rdma_device_plugin_session_phase{resource="${RESOURCE}",phase="registered"}`, 1);
  is(`rdma_device_plugin_session_phase{resource="${RESOURCE}",phase="waiting"}`, 0);
  is(`rdma_device_plugin_streams{resource="${RESOURCE}"}`, 1);
  is(`rdma_device_plugin_registrations_total{resource="${RESOURCE}",via="socket"}`, 1);
  is(`rdma_device_plugin_lists_sent_total{resource="${RESOURCE}"}`, 2);
  is("rdma_device_plugin_ready", 1);

  equal(admitted.ids.length, 2);
  is(`rdma_device_plugin_calls_total{resource="${RESOURCE}",method="Allocate",code="OK"}`, 1);
  is(`rdma_device_plugin_calls_total{resource="${RESOURCE}",method="Allocate",code="INVALID_ARGUMENT"}`, 1);
  is(`rdma_device_plugin_call_duration_seconds_count{resource="${RESOURCE}",method="Allocate"}`, 2);
  is(`rdma_device_plugin_allocated_devices_total{resource="${RESOURCE}"}`, 2);
  is('rdma_device_plugin_event_latency_seconds_count{source="file"}', 1);
  is('rdma_device_plugin_triggers_total{source="start"}', 2);
  for (const name of ["process_resident_memory_bytes", "process_heap_bytes", "process_start_time_seconds"]) {
    ok(series.get(name)! > 1e6, name);
  }
  ok(series.get("process_cpu_seconds_total")! > 0);
});

Deno.test("/metrics before the first scan has no hardware and is not ready", async () => {
  const { Metrics } = await import("../../src/observe/metrics.ts");
  const counters = new PortCounters({ sysfs: "/nonexistent" });
  const metrics = new Metrics({ version: "1", counters, pods: null, watchers: () => 0 });
  const [one, two] = [metrics.text(null), metrics.text(null)];
  equal(one, two, "whoever asks meanwhile gets the same text");
  const { series } = parse(await one);
  equal(series.get("rdma_device_plugin_ready"), 0);
  equal([...series.keys()].some((name) => name.startsWith("rdma_port")), false);
});

Deno.test("/metrics has failed reports by what and why, and whether the last one is old", async () => {
  const { Metrics } = await import("../../src/observe/metrics.ts");
  const counters = new PortCounters({ sysfs: "/nonexistent" });
  const failures = new Map([["refused", 3], ["unavailable", 0]]);
  let outdated = true;
  const reports = () => [{ what: "labels", failures, outdated }];
  const metrics = new Metrics({ version: "1", counters, pods: null, watchers: () => 0, reports });
  const read = async () => {
    const { series } = parse(await metrics.text(null));
    const name = (reason: string) => `rdma_device_plugin_report_failures_total{report="labels",reason="${reason}"}`;
    const names = [name("refused"), name("unavailable"), 'rdma_device_plugin_report_outdated{report="labels"}'];
    return names.map((one) => series.get(one));
  };
  deepEqual(await read(), [3, 0, 1]);
  outdated = false;
  deepEqual(await read(), [3, 0, 0]);
});

Deno.test({
  name: "/metrics is clean for promtool check metrics",
  ...needs("promtool"),
  fn: async () => {
    await using plugin = await rig({ host: VFS, pods: [pod("ns", "mpi-0", ["mlx5_0"])] });
    await plugin.registered();
    await plugin.kubelet.admit({ name: "pod-1", resource: RESOURCE, count: 1 });
    await plugin.host.carrierLost("mlx5_0", 1);
    await plugin.get("/livez");
    const { body } = await plugin.get("/metrics");
    const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], { input: body, encoding: "utf8" });
    equal(`${stdout}${stderr}`, "");
    equal(status, 0);
  },
});

Deno.test("/metrics survives labels from a hostile machine and a hostile cluster", async () => {
  await using plugin = await rig({ host: VFS, pods: [pod("ns", 'a"b\\c\nd', ["mlx5_0"])] });
  await plugin.registered();
  await plugin.host.setAttribute("mlx5_0", "fw_ver", 'x"} 1\\');
  await plugin.agent.scan("SIGHUP");
  const { body } = await plugin.get("/metrics");
  const { series } = parse(body);
  ok([...series.keys()].some((one) => one.includes('pod="a\\"b\\\\c\\nd"')));
  ok([...series.keys()].some((one) => one.includes('firmware="x\\"} 1\\\\"')));
});

Deno.test("with --pod-resources the metrics say which pod holds which device, and how many are in use", async () => {
  using dir = temporaryDir();
  const socket = join(dir.path, "pods.sock");
  const others = pod("ns", "gpu-0", ["gpu0"], "nvidia.com/gpu");
  const pods = () => [pod("ns", "mpi-0", ["mlx5_0", "mlx5_1"]), others];
  await using plugin = await rig({ host: VFS, podResources: socket });
  await plugin.registered();
  const before = parse((await plugin.get("/metrics")).body);
  equal(before.series.get("rdma_device_plugin_pod_resources_errors_total"), 1);
  equal([...before.series.keys()].some((one) => one.includes("device_pod_info{")), false);

  await using _pods = await servePods(socket, pods);
  // An answer, this one too, is kept for some seconds; another plugin has not asked yet.
  await using second = await rig({ host: VFS, podResources: socket });
  await second.registered();
  const { series } = parse((await second.get("/metrics")).body);
  const info = [...series.keys()].filter((one) => one.startsWith("rdma_device_plugin_device_pod_info"));
  deepEqual(info, [
    `rdma_device_plugin_device_pod_info{resource="${RESOURCE}",device="mlx5_0",namespace="ns",pod="mpi-0",container="main"}`,
    `rdma_device_plugin_device_pod_info{resource="${RESOURCE}",device="mlx5_1",namespace="ns",pod="mpi-0",container="main"}`,
  ]);
  equal(series.get(`rdma_device_plugin_devices_in_use{resource="${RESOURCE}"}`), 2);
  const held = [...series].filter(([name]) => name.startsWith("rdma_device_plugin_hca_containers{"));
  equal(held.length, 10, "every HCA of a resource has its series");
  deepEqual(held.filter(([, value]) => value > 0), [
    ['rdma_device_plugin_hca_containers{hca="mlx5_0"}', 1],
    ['rdma_device_plugin_hca_containers{hca="mlx5_1"}', 1],
  ]);
});

Deno.test("a device of a claim counts for its HCA's containers, and another driver's of the same name does not", async () => {
  const { Metrics } = await import("../../src/observe/metrics.ts");
  const of = draSpec();
  const host = [hca(0), hca(1)];
  const { states } = after(new Map(), [of], host, 0);
  const claim = { namespace: "ns", pod: "a", container: "main", claimNamespace: "ns", claim: "c", pool: "node-1" };
  const claimed = [
    { ...claim, driver: "rdma.tencent.com", device: "pci-0000-00-00-0" },
    { ...claim, driver: "dra.net", device: "pci-0000-01-00-0" },
  ];
  const metrics = new Metrics({
    version: "1",
    counters: new PortCounters({ sysfs: "/nonexistent" }),
    pods: { get: () => Promise.resolve({ ok: true, holders: new Map(), claimed }), failures: 0 },
    draDriver: "rdma.tencent.com",
    watchers: () => 0,
  });
  const inventory = { snapshot: snapshot(host), specs: [of], states, leftOut: [], ownersOf: HOST.ownersOf };
  const { series } = parse(await metrics.text({ inventory, sessions: [], changes: [] }));
  equal(series.get('rdma_device_plugin_hca_containers{hca="mlx5_0"}'), 1);
  equal(series.get('rdma_device_plugin_hca_containers{hca="mlx5_1"}'), 0);
});

Deno.test("a share counts for its HCA's containers, and a port that goes down and up counts twice", async () => {
  const shared = { ...DEFAULT_SPEC, mode: { kind: "shared", shares: 4, of: "one" } } as const;
  const pods = [pod("ns", "a", ["mlx5_0::0", "mlx5_0::1"]), pod("ns", "b", ["mlx5_0::2"])];
  await using plugin = await rig({ host: withCounters(2), pods, specs: [shared] });
  await plugin.registered();
  const port = (state: string) => ({ inventory }: typeof plugin.agent.state) =>
    inventory?.snapshot.hcas[0]?.ports[0]?.state === state;
  await plugin.host.portDown("mlx5_0", 1);
  await plugin.state(port("DOWN"), "the port is down");
  await plugin.host.portUp("mlx5_0", 1);
  await plugin.state(port("ACTIVE"), "the port is up");
  const { series } = parse((await plugin.get("/metrics")).body);
  equal(series.get('rdma_device_plugin_hca_containers{hca="mlx5_0"}'), 3);
  equal(series.get('rdma_device_plugin_hca_containers{hca="mlx5_1"}'), 0);
  equal(series.get('rdma_port_state_changes_total{hca="mlx5_0",port="1"}'), 2);
  await plugin.host.removeHca("mlx5_0");
  await plugin.state(({ inventory }) => inventory?.snapshot.hcas.length === 1, "the HCA is gone");
  const after = parse((await plugin.get("/metrics")).body).series;
  equal(after.has('rdma_port_state_changes_total{hca="mlx5_0",port="1"}'), false);
});

Deno.test("an HCA whose counters hang is skipped and counted, and the others are there", async () => {
  await using plugin = await rig({ host: withCounters(12) });
  await plugin.registered();
  // A named pipe that has a writer: it can be opened at once, and reading waits, as sysfs waits for firmware.
  const path = join(plugin.host.hcaPath("mlx5_3"), "ports/1/counters/port_rcv_data");
  await plugin.host.removeFile("class/infiniband/mlx5_3/ports/1/counters/port_rcv_data", { quiet: true });
  run("mkfifo", [path]);
  const writer = await Deno.open(path, { read: true, write: true });
  const counters = new PortCounters({ sysfs: plugin.host.sysfsRoot, deadlineMs: 2_000 });
  const hcas = plugin.agent.state.inventory!.snapshot.hcas;
  const first = await counters.read(hcas);
  deepEqual(first.skipped, ["mlx5_3"]);
  equal(first.hcas.length, 11);
  ok(first.hcas.every(({ readings }) => readings.length > 10));
  const second = await within(counters.read(hcas), "a hung HCA is not waited for again");
  deepEqual(second.skipped, ["mlx5_3"]);

  // The firmware answers at last.
  await writer.write(new TextEncoder().encode("42\n"));
  writer.close();
  rmSync(path);
  await plugin.host.fix("class/infiniband/mlx5_3/ports/1/counters/port_rcv_data", { quiet: true });
  const again = async () => {
    while ((await counters.read(hcas)).skipped.length > 0);
  };
  await within(again(), "it is read again once it has answered");
});

Deno.test("the dashboard asks only for metrics that exist", async () => {
  const text = readFileSync(new URL("../../dashboards/rdma-device-plugin.json", import.meta.url), "utf8");
  const expressions = [...expressionsOf(JSON.parse(text))];
  const known = new Set(
    FAMILIES.flatMap(({ name, type }) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    ),
  );
  const asked = new Set(expressions.flatMap((one) => one.match(/\b(?:rdma|process)_[a-z0-9_]+/g) ?? []));
  ok(asked.size > 15, "the dashboard shows something");
  for (const name of asked) ok(known.has(name), `the dashboard asks for ${name}`);

  // … and what the table promises is on a plugin's /metrics, apart from what other hardware and settings would add.
  await using plugin = await rig({ host: VFS, pods: [pod("ns", "mpi-0", ["mlx5_0"])] });
  await plugin.registered();
  const { families } = parse((await plugin.get("/metrics")).body);
  for (const { name } of Object.values(PLUGIN_FAMILIES)) ok(families.has(name), `${name} is not on /metrics`);
});

/** Every `expr` of a dashboard, wherever it is, and the queries of its variables. */
function* expressionsOf(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, one] of Object.entries(value)) {
    if ((key === "expr" || key === "query" || key === "definition") && typeof one === "string") yield one;
    else yield* expressionsOf(one);
  }
}

Deno.test("metric names and labels keep to the conventions", () => {
  for (const { name, type, labels, help } of FAMILIES) {
    match(name, /^(rdma_device_plugin|rdma_port|rdma_hca|process)_[a-z0-9_]+$/);
    equal(name.endsWith("_total"), type === "counter", name);
    if (type === "histogram") ok(name.endsWith("_seconds"), name);
    ok(labels.every((label) => /^[a-z_]+$/.test(label)), name);
    match(help, /[^.]\.$/, name);
  }
  equal(new Set(FAMILIES.map(({ name }) => name)).size, FAMILIES.length);
  equal(DEFAULT_SPEC.name, RESOURCE);
});

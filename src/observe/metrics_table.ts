/**
 * Table of all metrics, from which the metric objects and the table in docs/metrics.md are generated.
 *
 * The number of label values is bounded by the machine and the configuration (HCAs, ports, resources, kernel counters,
 * methods, status codes). Only the pod metric has pod names, and it exists only with --pod-resources.
 *
 * @module
 */

type MetricType = "counter" | "gauge" | "histogram";

export interface Family<Type extends MetricType = MetricType> {
  readonly name: string;
  readonly type: Type;
  readonly labels: readonly string[];
  readonly help: string;
  /** Upper bounds in seconds; histograms only. */
  readonly buckets?: readonly number[];
}

type Labels = readonly string[];

function counter(name: string, labels: Labels, help: string): Family<"counter"> {
  return { name, type: "counter", labels, help };
}

function gauge(name: string, labels: Labels, help: string): Family<"gauge"> {
  return { name, type: "gauge", labels, help };
}

function histogram(name: string, labels: Labels, buckets: readonly number[], help: string): Family<"histogram"> {
  return { name, type: "histogram", labels, buckets, help };
}

/** From a cached answer to a hung machine, in seconds. */
const CALL_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5];
/** A prepare asks the API server and the kubelet, and retries for 25 s. */
const CLAIM_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 25, 45];
const SCAN_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const EVENT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

const PREFIX = "rdma_device_plugin";

/** Metrics of the plugin and its devices. */
export const PLUGIN_FAMILIES = {
  build: gauge(
    `${PREFIX}_build_info`,
    ["version", "runtime"],
    "Version of the plugin and its runtime; always 1.",
  ),
  ready: gauge(`${PREFIX}_ready`, [], "Whether every resource is registered with an open stream, as for /readyz."),

  hcas: gauge(`${PREFIX}_hcas`, [], "HCAs found by the last scan."),
  hcasUnreadable: gauge(`${PREFIX}_hcas_unreadable`, [], "HCAs that exist but could not be read completely."),
  hca: gauge(
    `${PREFIX}_hca_info`,
    ["hca", "pci", "driver", "kind", "transport", "vendor", "device", "firmware", "board", "numa", "uverbs"],
    "Properties of an HCA; always 1.",
  ),
  hcaResources: gauge(
    `${PREFIX}_hca_resources`,
    ["hca"],
    "Resources that contain an HCA; 0 when it is left out (see the status page or `list` for the reason).",
  ),
  hcaUnhealthy: gauge(
    `${PREFIX}_hca_unhealthy`,
    ["hca", "code"],
    "1 for the code of each reason for which a device on an HCA is Unhealthy; no series when all are Healthy.",
  ),
  hcaContainers: gauge(
    `${PREFIX}_hca_containers`,
    ["hca"],
    "Devices on an HCA that containers hold, each container counted, according to the kubelet; only with --pod-resources.",
  ),
  hcaNotes: gauge(
    `${PREFIX}_hca_notes`,
    ["hca"],
    "Notes about an HCA, as `list` and `doctor` print them.",
  ),

  devices: gauge(`${PREFIX}_devices`, ["resource", "health"], "Devices offered to the kubelet, by health."),
  changes: counter(
    `${PREFIX}_device_changes_total`,
    ["resource", "to"],
    "Devices that became Healthy, Unhealthy, or absent.",
  ),
  inUse: gauge(
    `${PREFIX}_devices_in_use`,
    ["resource"],
    "Devices that containers hold, according to the kubelet; only with --pod-resources.",
  ),
  pod: gauge(
    `${PREFIX}_device_pod_info`,
    ["resource", "device", "namespace", "pod", "container"],
    "The container that holds a device; always 1. Only with --pod-resources.",
  ),
  podErrors: counter(
    `${PREFIX}_pod_resources_errors_total`,
    [],
    "Failed requests to the kubelet's PodResources API; only with --pod-resources.",
  ),

  registered: gauge(
    `${PREFIX}_registered`,
    ["resource"],
    "Whether the kubelet has accepted a resource and has an open ListAndWatch stream.",
  ),
  phase: gauge(
    `${PREFIX}_session_phase`,
    ["resource", "phase"],
    "1 for the current phase of a resource's session with the kubelet, 0 for the others.",
  ),
  streams: gauge(`${PREFIX}_streams`, ["resource"], "Open ListAndWatch streams."),
  registrations: counter(
    `${PREFIX}_registrations_total`,
    ["resource", "via"],
    "Registrations that the kubelet accepted, by Register (socket) or by its plugin watcher.",
  ),
  lists: counter(`${PREFIX}_lists_sent_total`, ["resource"], "Device lists sent to the kubelet."),
  listBytes: counter(`${PREFIX}_list_sent_bytes_total`, ["resource"], "Bytes of the device lists sent to the kubelet."),
  calls: counter(
    `${PREFIX}_calls_total`,
    ["resource", "method", "code"],
    "Calls by the kubelet (Allocate, GetPreferredAllocation, …) by the gRPC status of the answer.",
  ),
  callSeconds: histogram(
    `${PREFIX}_call_duration_seconds`,
    ["resource", "method"],
    CALL_BUCKETS,
    "Time from the arrival of a call to its answer.",
  ),
  claims: counter(
    `${PREFIX}_claims_total`,
    ["method", "result"],
    "Claims in calls by the kubelet to the DRA driver, by method and result (ok, refused); a claim that is retried counts " +
      "each time.",
  ),
  claimSeconds: histogram(
    `${PREFIX}_claim_duration_seconds`,
    ["method"],
    CLAIM_BUCKETS,
    "Time until the DRA driver answered for a claim.",
  ),
  allocated: counter(
    `${PREFIX}_allocated_devices_total`,
    ["resource"],
    "Devices in answers to Allocate.",
  ),

  scans: counter(
    `${PREFIX}_scans_total`,
    ["depth", "changed"],
    "Scans of the machine, and whether they found a change.",
  ),
  scanSeconds: histogram(`${PREFIX}_scan_duration_seconds`, ["depth"], SCAN_BUCKETS, "Duration of a scan."),
  lastScan: gauge(`${PREFIX}_last_scan_timestamp_seconds`, [], "When the last scan ended, in Unix time."),
  triggers: counter(`${PREFIX}_triggers_total`, ["source"], "Reasons for scans: events, the timer, signals."),
  eventSeconds: histogram(
    `${PREFIX}_event_latency_seconds`,
    ["source"],
    EVENT_BUCKETS,
    "Time from an event that changed a device to sending the new list to the kubelet.",
  ),

  countersSeconds: gauge(
    `${PREFIX}_port_counters_read_seconds`,
    [],
    "Duration of reading the kernel's counters in this scrape.",
  ),
  countersSkipped: counter(
    `${PREFIX}_port_counters_skipped_total`,
    ["hca"],
    "Scrapes without the counters of an HCA that did not answer in time.",
  ),
  watchedErrors: gauge(
    `${PREFIX}_watched_errors`,
    ["hca", "port", "counter", "rule"],
    "Errors within the window of a rule of `health.errors`; `port` is empty for counters of the whole HCA.",
  ),
  errorsExceeded: gauge(
    `${PREFIX}_errors_exceeded`,
    ["hca", "port", "counter", "rule"],
    "Whether a rule of `health.errors` is exceeded, so that the devices of its resources are Unhealthy.",
  ),
  errorsSkipped: counter(
    `${PREFIX}_error_readings_skipped_total`,
    ["hca"],
    "Readings for `health.errors` without an HCA that did not answer in time.",
  ),
  reportFailures: counter(
    `${PREFIX}_report_failures_total`,
    ["report", "reason"],
    "Failed requests to the API server for the node's condition, events or labels: unreachable, unauthorized, refused, " +
      "unavailable; only with --kubernetes-events or --node-labels.",
  ),
  reportOutdated: gauge(
    `${PREFIX}_report_outdated`,
    ["report"],
    "Whether the last try to write the node's condition, events or labels failed, so that what Kubernetes shows is old.",
  ),
  requests: counter(`${PREFIX}_http_requests_total`, ["path", "code"], "Requests to this server."),
  watchers: gauge(`${PREFIX}_http_event_streams`, [], "Open event streams of status pages."),

  cpu: counter("process_cpu_seconds_total", [], "User and system CPU time of the plugin."),
  started: gauge("process_start_time_seconds", [], "When the plugin started, in Unix time."),
  resident: gauge("process_resident_memory_bytes", [], "Resident memory of the plugin."),
  heap: gauge("process_heap_bytes", [], "Memory that the plugin's JavaScript heap uses."),

  port: gauge(
    "rdma_port_info",
    ["hca", "port", "link_layer", "physical_state", "netdevs"],
    "Properties of a port; always 1. `netdevs` are the HCA's net devices.",
  ),
  portState: gauge(
    "rdma_port_state",
    ["hca", "port"],
    "Port state (the kernel's ib_port_state): 0 NOP, 1 DOWN, 2 INIT, 3 ARMED, 4 ACTIVE, 5 ACTIVE_DEFER.",
  ),
  portChanges: counter(
    "rdma_port_state_changes_total",
    ["hca", "port"],
    "Changes of a port's state to or from ACTIVE that scans have found; a link that flaps between two scans counts once.",
  ),
  portRate: gauge("rdma_port_rate_bytes_per_second", ["hca", "port"], "Signalling rate of a port."),
} as const satisfies Readonly<Record<string, Family>>;

/** A file of `ports/N/counters` and its metric. */
export interface KernelCounter extends Family<"counter"> {
  /** One unit of the kernel's counter in the metric's unit. */
  readonly factor: number;
}

const kernel = (name: string, help: string, factor = 1): KernelCounter => ({
  ...counter(`rdma_port_${name}_total`, ["hca", "port"], help),
  factor,
});

/** `port_xmit_data` and `port_rcv_data` count 32-bit words (kernel, Documentation/ABI/stable/sysfs-class-infiniband). */
const WORD = 4;

/** By file name in `ports/N/counters`: all that ib_core has (kernel, drivers/infiniband/core/sysfs.c). */
export const KERNEL_COUNTERS: Readonly<Record<string, KernelCounter>> = {
  port_xmit_data: kernel("xmit_data_bytes", "Bytes sent on all virtual lanes (port_xmit_data, times 4).", WORD),
  port_rcv_data: kernel("rcv_data_bytes", "Bytes received on all virtual lanes (port_rcv_data, times 4).", WORD),
  port_xmit_packets: kernel("xmit_packets", "Packets sent on all virtual lanes, with errors too."),
  port_rcv_packets: kernel("rcv_packets", "Packets received on all virtual lanes, with errors too."),
  unicast_xmit_packets: kernel("unicast_xmit_packets", "Unicast packets sent, with errors too."),
  unicast_rcv_packets: kernel("unicast_rcv_packets", "Unicast packets received, with errors too."),
  multicast_xmit_packets: kernel("multicast_xmit_packets", "Multicast packets sent, with errors too."),
  multicast_rcv_packets: kernel("multicast_rcv_packets", "Multicast packets received, with errors too."),
  port_xmit_wait: kernel("xmit_wait", "Ticks in which there was data to send and no credit or arbitration to send it."),
  port_xmit_discards: kernel("xmit_discards", "Outbound packets dropped because the port was down or congested."),
  port_rcv_errors: kernel("rcv_errors", "Packets received with an error."),
  port_rcv_remote_physical_errors: kernel(
    "rcv_remote_physical_errors",
    "Packets received that a switch on the path had marked bad.",
  ),
  port_rcv_switch_relay_errors: kernel("rcv_switch_relay_errors", "Packets received that could not be relayed."),
  port_xmit_constraint_errors: kernel(
    "xmit_constraint_errors",
    "Outbound packets dropped by raw or partition filters.",
  ),
  port_rcv_constraint_errors: kernel("rcv_constraint_errors", "Inbound packets dropped by raw or partition filters."),
  symbol_error: kernel("symbol_errors", "Minor link errors on physical lanes (symbol_error)."),
  link_error_recovery: kernel("link_error_recoveries", "Times that link training recovered by itself."),
  link_downed: kernel("link_downed", "Times that link training failed and the link went down."),
  local_link_integrity_errors: kernel(
    "local_link_integrity_errors",
    "Times that local physical errors exceeded the limit.",
  ),
  excessive_buffer_overrun_errors: kernel("excessive_buffer_overrun_errors", "Times that buffer overruns did not end."),
  VL15_dropped: kernel("vl15_dropped", "Inbound management packets dropped for want of room (VL15_dropped)."),
};

/** `hw_counters`: the names are chosen by the driver, so they are labels. */
export const HARDWARE_FAMILIES = {
  port: counter(
    "rdma_port_hw_total",
    ["hca", "port", "counter"],
    "A driver-specific counter of a port (ports/N/hw_counters), with the driver's name and unit.",
  ),
  hca: counter(
    "rdma_hca_hw_total",
    ["hca", "counter"],
    "A driver-specific counter of an HCA (hw_counters), with the driver's name and unit.",
  ),
} as const;

/** All families, in the order of /metrics. */
export const FAMILIES: readonly Family[] = [
  ...Object.values(PLUGIN_FAMILIES),
  ...Object.values(KERNEL_COUNTERS),
  ...Object.values(HARDWARE_FAMILIES),
];

/** Generates the table of docs/metrics.md. */
export function metricsTable(): string {
  const row = ({ name, type, labels, help }: Family) =>
    `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help.replaceAll("|", "\\|")} |`;
  return ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", ...FAMILIES.map(row)].join("\n");
}

/**
 * For every alert: metrics with which it fires, and metrics with which it does not. One sample a minute.
 *
 * @module
 */

/** Series in promtool's notation: labels, and values such as "0x10 1x60". */
export type Series = Readonly<Record<string, string>>;

/** Metrics, and what an alert makes of them. */
export interface Case {
  readonly what: string;
  readonly series: Series;
  /** When it is asked, as "20m". */
  readonly at: string;
  /** Labels of the alerts that fire then, besides its severity, and the value in the annotations; empty for none. */
  readonly fires: readonly { readonly labels: Readonly<Record<string, string>>; readonly value?: string }[];
}

const JOB = { job: "kube-system/rdma-device-plugin" };
const NODE = { ...JOB, instance: "10.0.0.1:9178" };
const HCA = { ...NODE, hca: "mlx5_0" };
const PORT = { ...HCA, port: "1" };

/** "name{a="b"}" */
export function metric(name: string, labels: Readonly<Record<string, string>>): string {
  return `${name}{${Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(",")}}`;
}

const plugin = (name: string, labels: Readonly<Record<string, string>>) => metric(`rdma_device_plugin_${name}`, labels);
const port = (name: string, labels: Readonly<Record<string, string>> = PORT) => metric(`rdma_port_${name}`, labels);
const hw = (counter: string) => port("hw_total", { ...PORT, counter });

/** A counter of a port that is quiet for an hour and then goes up by so much each minute. */
const burst = (each: number) => `0x60 0+${each}x30`;
const fires = (labels: Readonly<Record<string, string>>, value?: string): Case["fires"] => [
  { labels, ...value === undefined ? {} : { value } },
];

const GBPS = 1e9 / 8;
const BOARD = { vendor: "15b3", device: "1021", board: "MT_0000000838" };

/** One port of the same adapter on each node, at these rates in Gb/s over time. */
function fleet(rates: readonly (readonly [rate: string, state?: number])[], kind = "pf"): Series {
  return Object.fromEntries(rates.flatMap(([rate, state = 4], n) => {
    const hca = { ...JOB, instance: `10.0.0.${n + 1}:9178`, hca: "mlx5_0" };
    const values = rate.replace(/\d+(?=x)/g, (gbps) => String(Number(gbps) * GBPS));
    return [
      [port("rate_bytes_per_second", { ...hca, port: "1" }), values],
      [port("state", { ...hca, port: "1" }), `${state}x2000`],
      [plugin("hca_info", { ...hca, ...BOARD, kind, firmware: "28.40.1000" }), "1x2000"],
    ];
  }));
}

function firmware(versions: readonly string[]): Series {
  return Object.fromEntries(versions.map((version, n) => {
    const labels = { ...JOB, instance: `10.0.0.${n + 1}:9178`, hca: "mlx5_0", ...BOARD, kind: "pf", firmware: version };
    return [plugin("hca_info", labels), "1x2000"];
  }));
}

const unhealthy = (code: string) => plugin("hca_unhealthy", { ...HCA, code });
const containers = plugin("hca_containers", HCA);
const limit = plugin("errors_exceeded", { ...PORT, counter: "link_downed", rule: "5 per 10m" });
const claims = (method: string, result: string) => plugin("claims_total", { ...NODE, method, result });
const calls = (code: string) => plugin("calls_total", { ...NODE, resource: "rdma/ib", method: "Allocate", code });

/** By alert. */
export const CASES: Readonly<Record<string, readonly Case[]>> = {
  RdmaPortDownWithPods: [
    {
      what: "a port that is down while two containers hold it",
      series: { [unhealthy("port-down")]: "_x5 1x10", [containers]: "2x20" },
      at: "10m",
      fires: fires({ ...HCA, code: "port-down" }),
    },
    {
      what: "no pod holds it",
      series: { [unhealthy("port-down")]: "1x20", [containers]: "0x20" },
      at: "10m",
      fires: [],
    },
    { what: "another reason", series: { [unhealthy("settling")]: "1x20", [containers]: "2x20" }, at: "10m", fires: [] },
    { what: "it is up again", series: { [unhealthy("port-down")]: "1x3", [containers]: "2x20" }, at: "10m", fires: [] },
    {
      what: "another node's pods hold an HCA of the same name",
      series: {
        [unhealthy("port-down")]: "1x20",
        [plugin("hca_containers", { ...HCA, instance: "10.0.0.2:9178" })]: "2x20",
      },
      at: "10m",
      fires: [],
    },
  ],
  RdmaHcaUnhealthy: [
    {
      what: "an HCA without its node for half an hour",
      series: { [unhealthy("uverbs-node-missing")]: "1x60" },
      at: "40m",
      fires: fires({ ...HCA, code: "uverbs-node-missing" }),
    },
    { what: "for twenty minutes", series: { [unhealthy("port-down")]: "1x60" }, at: "20m", fires: [] },
    { what: "a claim has it", series: { [unhealthy("claimed")]: "1x60" }, at: "40m", fires: [] },
  ],
  RdmaCounterLimitExceeded: [
    {
      what: "a rule of health.errors is exceeded",
      series: { [limit]: "0x5 1x5" },
      at: "6m",
      fires: fires({ ...PORT, counter: "link_downed", rule: "5 per 10m" }),
    },
    { what: "it is met", series: { [limit]: "1x5 0x5" }, at: "6m", fires: [] },
  ],
  RdmaPortFlapping: [
    {
      what: "a port that goes down and up each minute",
      series: { [port("state_changes_total")]: burst(2) },
      at: "80m",
      fires: fires(PORT, "30"),
    },
    {
      what: "one that went down and up twice",
      series: { [port("state_changes_total")]: "0x60 4x30" },
      at: "75m",
      fires: [],
    },
  ],
  RdmaLinkDowned: [
    {
      what: "a link that went down ten times",
      series: { [port("link_downed_total")]: "200x70 200+1x10 210x40" },
      at: "100m",
      fires: fires(PORT, "10"),
    },
    { what: "once, and a reset", series: { [port("link_downed_total")]: "200x70 201x10 0x40" }, at: "100m", fires: [] },
  ],
  RdmaLinkIntegrityErrors: [
    {
      what: "one integrity error",
      series: { [port("local_link_integrity_errors_total")]: "0x60 1x30" },
      at: "70m",
      fires: fires(PORT, "1"),
    },
    {
      what: "buffer overruns",
      series: { [port("excessive_buffer_overrun_errors_total")]: "0x60 5x30" },
      at: "70m",
      fires: fires(PORT, "5"),
    },
    {
      what: "a counter that stays where it is, and one overrun",
      series: {
        [port("local_link_integrity_errors_total")]: "15x90",
        [port("excessive_buffer_overrun_errors_total")]: "0x60 1x30",
      },
      at: "70m",
      fires: [],
    },
  ],
  RdmaSymbolErrors: [
    {
      what: "ten a minute",
      series: { [port("symbol_errors_total")]: "0+10x120" },
      at: "100m",
      fires: fires(PORT, "600"),
    },
    { what: "one a minute", series: { [port("symbol_errors_total")]: "0+1x120" }, at: "100m", fires: [] },
  ],
  RdmaPortSlowerThanNeighbours: [
    {
      what: "a port of 400 Gb/s that trained at 100",
      series: fleet([["400x60"], ["100x60"], ["400x60"]]),
      at: "30m",
      fires: fires({ ...JOB, instance: "10.0.0.2:9178", hca: "mlx5_0", port: "1", ...BOARD }, "12.5G"),
    },
    { what: "all alike", series: fleet([["400x60"], ["400x60"], ["400x60"]]), at: "30m", fires: [] },
    { what: "a port that is down", series: fleet([["400x60"], ["100x60", 1], ["400x60"]]), at: "30m", fires: [] },
    { what: "virtual functions", series: fleet([["400x60"], ["100x60"], ["400x60"]], "vf"), at: "30m", fires: [] },
  ],
  RdmaPortRateFell: [
    {
      what: "a port that came back at a quarter of its rate",
      series: fleet([["400x60 100x60"]]),
      at: "90m",
      fires: fires({ ...JOB, instance: "10.0.0.1:9178", hca: "mlx5_0", port: "1", ...BOARD }, "12.5G"),
    },
    { what: "one that is faster than before", series: fleet([["100x60 400x60"]]), at: "90m", fires: [] },
    { what: "one that trained again at once", series: fleet([["400x60 100x5 400x60"]]), at: "90m", fires: [] },
  ],
  RdmaPacketsOutOfSequence: [
    ...["out_of_sequence", "oos_drop_count", "responder_oos"].map((counter) => ({
      what: `${counter}, 200 a second`,
      series: { [hw(counter)]: "0+12000x60" },
      at: "40m",
      fires: fires(PORT, "200"),
    })),
    { what: "a hundred in all", series: { [hw("out_of_sequence")]: "0x30 100x30" }, at: "40m", fires: [] },
    { what: "another counter", series: { [hw("rx_write_requests")]: "0+12000x60" }, at: "40m", fires: [] },
  ],
  RdmaRetriesExceeded: [
    ...["req_transport_retries_exceeded", "max_retry_exceeded", "retry_rnr_exceeded_err"].map((counter) => ({
      what: counter,
      series: { [hw(counter)]: "0x60 3x30" },
      at: "65m",
      fires: fires(PORT, "3"),
    })),
    { what: "long ago", series: { [hw("req_transport_retries_exceeded")]: "3x90" }, at: "65m", fires: [] },
  ],
  RdmaReceiverNotReady: [
    {
      what: "two drivers' counters of one port together",
      series: { [hw("rnr_nak_retry_err")]: "0+6000x60", [hw("out_of_buffer")]: "0+6000x60" },
      at: "40m",
      fires: fires(PORT, "200"),
    },
    { what: "now and then", series: { [hw("rnr_nak_retry_err")]: "0+60x60" }, at: "40m", fires: [] },
  ],
  RdmaCongestion: [
    ...["rp_cnp_handled", "rx_cnp_pkts", "cnpHandled"].map((counter) => ({
      what: `${counter}, 2,000 a second`,
      series: { [hw(counter)]: "0+120000x90" },
      at: "60m",
      fires: fires(PORT, "2000"),
    })),
    { what: "10 a second", series: { [hw("rp_cnp_handled")]: "0+600x90" }, at: "60m", fires: [] },
  ],
  RdmaCongestionIgnored: [
    {
      what: "notifications that are ignored",
      series: { [hw("rp_cnp_ignored")]: "0+10x90" },
      at: "60m",
      fires: fires(PORT, "150"),
    },
    {
      what: "none",
      series: { [hw("rp_cnp_ignored")]: "7x90", [hw("rp_cnp_handled")]: "0+600x90" },
      at: "60m",
      fires: [],
    },
  ],
  RdmaFirmwareSpread: [
    {
      what: "three versions for a day",
      series: firmware(["28.40.1000", "28.40.1000", "28.39.1002", "28.36.1010"]),
      at: "30h",
      fires: fires({ ...JOB, ...BOARD }, "3"),
    },
    { what: "one version", series: firmware(["28.40.1000", "28.40.1000"]), at: "30h", fires: [] },
    { what: "two for some hours", series: firmware(["28.40.1000", "28.39.1002"]), at: "10h", fires: [] },
  ],
  RdmaResourceNotRegistered: [
    {
      what: "a resource that the kubelet does not have",
      series: { [plugin("registered", { ...NODE, resource: "rdma/ib" })]: "1x5 0x20" },
      at: "15m",
      fires: fires({ ...NODE, resource: "rdma/ib" }),
    },
    {
      what: "a kubelet that restarts",
      series: { [plugin("registered", { ...NODE, resource: "rdma/ib" })]: "1x5 0x3 1x20" },
      at: "15m",
      fires: [],
    },
  ],
  RdmaAllocateRefused: [
    {
      what: "four pods that were rejected",
      series: { [calls("FAILED_PRECONDITION")]: "0x20 4x20", [calls("OK")]: "0+1x40" },
      at: "25m",
      fires: fires({ ...NODE, resource: "rdma/ib", code: "FAILED_PRECONDITION" }, "4"),
    },
    { what: "calls that were answered", series: { [calls("OK")]: "0+1x40" }, at: "25m", fires: [] },
  ],
  RdmaClaimRefused: [
    {
      what: "a claim that is refused every minute",
      series: {
        [claims("NodePrepareResources", "refused")]: "0x20 0+1x20",
        [claims("NodePrepareResources", "ok")]: "0+1x40",
      },
      at: "40m",
      fires: fires(NODE, "15"),
    },
    {
      what: "claims that are prepared, and an unprepare that failed",
      series: {
        [claims("NodePrepareResources", "ok")]: "0+1x40",
        [claims("NodeUnprepareResources", "refused")]: "0+1x40",
      },
      at: "40m",
      fires: [],
    },
  ],
  RdmaReportOutdated: [
    {
      what: "labels that cannot be written",
      series: {
        [plugin("report_outdated", { ...NODE, report: "labels" })]: "0x5 1x30",
        [plugin("report_outdated", { ...NODE, report: "condition" })]: "0x40",
      },
      at: "25m",
      fires: fires({ ...NODE, report: "labels" }),
    },
    {
      what: "an API server that was away for ten minutes",
      series: { [plugin("report_outdated", { ...NODE, report: "condition" })]: "0x5 1x10 0x30" },
      at: "25m",
      fires: [],
    },
  ],
  RdmaCountersNotAnswering: [
    {
      what: "an HCA that hangs",
      series: { [plugin("port_counters_skipped_total", HCA)]: burst(1) },
      at: "80m",
      fires: fires(HCA, "15"),
    },
    {
      what: "an HCA that hangs, without scrapes of counters",
      series: { [plugin("error_readings_skipped_total", HCA)]: burst(6) },
      at: "80m",
      fires: fires(HCA, "90"),
    },
    {
      what: "one that was slow once",
      series: { [plugin("port_counters_skipped_total", HCA)]: "0x60 1x30" },
      at: "80m",
      fires: [],
    },
  ],
  RdmaPluginDown: [
    { what: "a pod that is down", series: { [metric("up", NODE)]: "1x5 0x20" }, at: "15m", fires: fires(NODE) },
    { what: "one that is up", series: { [metric("up", NODE)]: "1x30" }, at: "15m", fires: [] },
    {
      what: "something else that is down",
      series: { [metric("up", { ...NODE, job: "node-exporter" })]: "0x30" },
      at: "15m",
      fires: [],
    },
  ],
  RdmaPluginAbsent: [
    {
      what: "no plugin at all",
      series: { [metric("up", { ...NODE, job: "node-exporter" })]: "1x30" },
      at: "20m",
      fires: fires({}),
    },
    { what: "one plugin", series: { [plugin("build_info", NODE)]: "1x30" }, at: "20m", fires: [] },
  ],
};

/**
 * What is known of the counters of ports before one is read: which count traffic, how wide the standard ones are, and
 * which ones the drivers have that count errors.
 *
 * @module
 */

/** Names that the kernel uses for counters: no separator and no leading dot, so that they are safe as labels. */
export const COUNTER_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/;

/**
 * Bits of the error counters in `ports/N/counters` (kernel, drivers/infiniband/core/sysfs.c, from the PortCounters
 * attribute of the InfiniBand specification). They do not wrap: at their maximum they stay as they are until they are
 * reset (`perfquery -R`).
 */
export const COUNTER_BITS: Readonly<Record<string, number>> = {
  symbol_error: 16,
  link_error_recovery: 8,
  link_downed: 8,
  port_rcv_errors: 16,
  port_rcv_remote_physical_errors: 16,
  port_rcv_switch_relay_errors: 16,
  port_xmit_discards: 16,
  port_xmit_constraint_errors: 8,
  port_rcv_constraint_errors: 8,
  local_link_integrity_errors: 4,
  excessive_buffer_overrun_errors: 4,
  VL15_dropped: 16,
  port_xmit_wait: 32,
};

/** The value at which a counter of `ports/N/counters` stays; null for one without a known width. */
export function counterMaximum(name: string): number | null {
  const bits = Object.hasOwn(COUNTER_BITS, name) ? COUNTER_BITS[name]! : null;
  return bits === null ? null : 2 ** bits - 1;
}

/** Counters in `ports/N/counters` that count traffic. */
export const TRAFFIC_COUNTERS: readonly string[] = [
  "port_xmit_data",
  "port_rcv_data",
  "port_xmit_packets",
  "port_rcv_packets",
  "unicast_xmit_packets",
  "unicast_rcv_packets",
  "multicast_xmit_packets",
  "multicast_rcv_packets",
];

/** Files in `hw_counters` that are no counters: `lifespan` says how long the driver keeps values. */
export const NO_COUNTERS: readonly string[] = ["lifespan"];

/** Error counters in `hw_counters`, by RDMA driver (kernel, drivers/infiniband/hw and sw). Other drivers have others. */
export const DRIVER_ERROR_COUNTERS: Readonly<Record<string, readonly string[]>> = {
  mlx5_ib: [
    "duplicate_request",
    "implied_nak_seq_err",
    "local_ack_timeout_err",
    "np_cnp_sent",
    "np_ecn_marked_roce_packets",
    "out_of_buffer",
    "out_of_sequence",
    "packet_seq_err",
    "req_cqe_error",
    "req_cqe_flush_error",
    "req_remote_access_errors",
    "req_remote_invalid_request",
    "req_rnr_retries_exceeded",
    "req_transport_retries_exceeded",
    "resp_cqe_error",
    "resp_cqe_flush_error",
    "resp_local_length_error",
    "resp_remote_access_errors",
    "rnr_nak_retry_err",
    "roce_adp_retrans",
    "roce_adp_retrans_to",
    "roce_slow_restart",
    "rp_cnp_handled",
    "rp_cnp_ignored",
    "rx_icrc_encapsulated",
  ],
  bnxt_re: [
    "bad_resp_err",
    "dup_req",
    "local_protection_err",
    "local_qp_op_err",
    "max_retry_exceeded",
    "missing_resp",
    "oos_drop_count",
    "recoverable_errors",
    "remote_access_err",
    "rnr_naks_rcvd",
    "rx_cnp_pkts",
    "rx_ecn_marked_pkts",
    "rx_roce_discards",
    "rx_roce_errors",
    "seq_err_naks_rcvd",
    "to_retransmits",
    "tx_cnp_pkts",
    "tx_roce_discards",
    "tx_roce_errors",
    "unrecoverable_err",
  ],
  irdma: [
    "cnpHandled",
    "cnpIgnored",
    "cnpSent",
    "ip4InDiscards",
    "ip6InDiscards",
    "RetransSegs",
    "RxECNMrkd",
    "rxVlanErrors",
    "tcpRetransSegs",
  ],
  efa: [
    "cmds_err",
    "impaired_remote_conn_events",
    "rdma_read_wr_err",
    "rdma_write_wr_err",
    "retrans_pkts",
    "retrans_timeout_events",
    "rx_drops",
    "unresponsive_remote_events",
  ],
  mana_ib: [
    "requester_oos_nak",
    "requester_retries_exceeded",
    "requester_rnr_nak",
    "requester_rnr_nak_retries_exceeded",
    "requester_timeout",
    "responder_oos",
    "responder_rnr_nak",
    "total_fatal_error",
  ],
  rdma_rxe: [
    "completer_retry_err",
    "duplicate_request",
    "link_downed",
    "out_of_seq_request",
    "rcvd_rnr_err",
    "rcvd_seq_err",
    "retry_exceeded_err",
    "retry_rnr_exceeded_err",
    "send_err",
    "send_rnr_err",
  ],
};

/** Names of all error counters that are known. */
export const ERROR_COUNTERS: readonly string[] = [
  ...new Set([...Object.keys(COUNTER_BITS), ...Object.values(DRIVER_ERROR_COUNTERS).flat()]),
];

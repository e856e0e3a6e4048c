/** Kernel modules that the guest needs. @module */

/**
 * What soft-RoCE needs. crc32_generic is asked for by name at run time, so no dependency mentions it; without it
 * `rdma link add` says "No such file or directory".
 */
export const RDMA_MODULES = ["rdma_rxe", "ib_uverbs", "ib_umad", "rdma_ucm", "crc32_generic"];

/** Virtual Ethernet to put it on. */
export const NET_MODULES = ["veth"];

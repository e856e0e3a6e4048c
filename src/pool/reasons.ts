/**
 * Codes of the reasons why a device is Unhealthy and why an HCA is in no resource. They are stable: the log's JSON,
 * `list --json`, `/state.json` and whatever counts or filters reasons use them, and the sentences beside them may change.
 *
 * @module
 */

/** Why a device is Unhealthy, with what each code means. */
export const UNHEALTHY_CODES = {
  "claimed": "A ResourceClaim has the HCA through DRA",
  "no-uverbs": "The HCA has no uverbs device: it is being removed, or `ib_uverbs` is not loaded",
  "uverbs-node-missing": "`/dev/infiniband/uverbsN` does not exist",
  "uverbs-node-stale": "`/dev/infiniband/uverbsN` is another device than in sysfs, or a directory",
  "node-missing": "Another node that the container needs does not exist on the host",
  "no-gid-table": "RoCE is off on the port, or it is the uplink of a switchdev function",
  "no-such-port": "The resource wants a port that the HCA does not have",
  "no-ports": "The HCA has no ports",
  "port-down": "The port has no link",
  "port-not-active": "The port has a link, and its state is not ACTIVE; on InfiniBand, a subnet manager activates it",
  "port-unreadable": "The state of the port cannot be read",
  "other-netns": "The HCA is in another RDMA network namespace, or lost its RDMA driver, and no pod holds the device",
  "counter-errors": "A counter of the port or the HCA exceeds a rule of `health.errors`",
  "settling": "Every requirement holds again, and the settle time has not passed",
  "gone": "The HCA disappeared from the machine",
  "not-selected": "The resource does not select the HCA any more",
} as const;
export type UnhealthyCode = keyof typeof UNHEALTHY_CODES;

/** Why an HCA is not in a resource, with what each code means. */
export const LEFT_OUT_CODES = {
  "not-selected": "No selector matches",
  "excluded": "A selector below `exclude` matches the HCA, or all of its selected ports",
  "other-resource": "A resource further up in the configuration has it, and they do not both allow overlap",
  "other-api": "A resource of the device plugin API has it, and this one is offered through DRA",
  "representor": "It is the RDMA device of a representor, which carries no RDMA",
  "software": "It is soft-RoCE or soft-iWARP on a net device of an HCA, and no selector names it or its kind",
  "sub-device": "It is an SMI sub-device, which is used through its parent",
} as const;
export type LeftOutCode = keyof typeof LEFT_OUT_CODES;

/** What else can change the state of a device, with what each code means. */
export const CHANGE_CODES = {
  "appeared": "The device is new",
  "recovered": "Every requirement holds again, and the settle time has passed",
  "grace-over": "The HCA did not come back in time, and the device is removed from the list",
} as const;

/** Why a device changed its state. */
export type ChangeCode = UnhealthyCode | keyof typeof CHANGE_CODES;

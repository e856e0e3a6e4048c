/**
 * Rows of docs/reliability.md whose tests are not in the fault suite.
 *
 * @module
 */

/** A promise and the test that proves it. */
export interface Proof {
  readonly injected: string;
  readonly promise: string;
  /** Words of the test's name as they stand in the file. */
  readonly test: string;
  readonly file: string;
}

export interface Part {
  readonly title: string;
  readonly proofs: readonly Proof[];
}

const rxe = (file: string, injected: string, promise: string, test: string): Proof => ({
  injected,
  promise,
  test,
  file: `test/rxe/${file}`,
});

const library = (injected: string, promise: string, test: string): Proof => ({
  injected,
  promise,
  test,
  file: "test/hca/verbs_test.ts",
});

export const OTHERS: readonly Part[] = [
  {
    title: "Real RDMA: soft-RoCE in Debian's kernel (`deno task test:rxe`)",
    proofs: [
      rxe(
        "checks_life.ts",
        "The plugin starts before any RDMA driver is loaded",
        "It registers an empty resource; driver and HCA are reported by event when they come.",
        "the driver that is loaded and the HCA that is made are reported without a rescan",
      ),
      rxe(
        "checks_allocate.ts",
        "A container gets the nodes of an answer, and only those",
        "libibverbs in it sees that HCA and no other; ibv_rc_pingpong sends and receives through it.",
        "a container with the answer's nodes sees its HCA and no other",
      ),
      rxe(
        "checks_change.ts",
        "The link goes down and up",
        "Both are reported by event.",
        "link down and up are reported",
      ),
      rxe("checks_change.ts", "The peer of the link is gone", "Reported by event.", "loss of carrier is reported"),
      rxe(
        "checks_life.ts",
        "The link bounces",
        "No change is missed, and Healthy waits until the link has stayed up.",
        "no link change is missed when a link bounces",
      ),
      rxe(
        "checks_change.ts",
        "`rdma dev set … name …`",
        "The old name goes and the new one comes.",
        "a renamed HCA goes under its old name and comes under the new one",
      ),
      rxe(
        "checks_change.ts",
        "`rdma link delete`, and the link is made again with other node numbers",
        "The removal never waits for the plugin; the new nodes are handed out.",
        "removal is reported, never waits for the plugin, and renumbered nodes are handed out right",
      ),
      rxe(
        "checks_change.ts",
        "The same while somebody else's process holds a verbs context",
        "The removal waits for that process; the plugin reports the HCA at once.",
        "somebody else's open context holds up the removal, and the plugin reports the HCA at once",
      ),
      rxe(
        "checks_change.ts",
        "Two HCAs swap their nodes while the plugin is stopped",
        "Allocate hands out the right node or refuses, never the other's.",
        "Allocate behind a swap of nodes that went unseen is right or refused, never wrong",
      ),
      rxe(
        "checks_netns.ts",
        "An HCA is moved into a pod's network namespace (`rdma system set netns exclusive`)",
        "It stays in the list and is not given away again.",
        "an HCA moved into a pod's network namespace is not given away again",
      ),
      rxe(
        "checks_life.ts",
        "All of the above",
        "The plugin never opened a verbs context.",
        "the plugin never opened a verbs context",
      ),
    ],
  },
  {
    title: "sysfs that does not answer",
    proofs: [
      {
        injected: "The state of a port is not answered",
        promise:
          "The HCA is Unhealthy after two seconds, is not asked again until it answers, and the others are read.",
        test: "Discovery waits no longer than its deadline for an HCA whose firmware hangs, and hears when it answers",
        file: "test/hca/discover_test.ts",
      },
      {
        injected: "The state is answered, and its rate, LIDs or partition key are not",
        promise: "The same.",
        test: "a scan ends although ${file} of a port hangs, and the HCA is as one whose state does",
        file: "test/hca/hang_test.ts",
      },
      {
        injected: "The kernel's RTNL lock is held for as long as a driver hangs; ports go down meanwhile",
        promise: "They are reported; of the net devices what was known stays.",
        test:
          "a port that goes down is seen while the kernel does not tell of net devices: their facts stay as they were",
        file: "test/hca/hang_test.ts",
      },
      {
        injected: "Firmware hangs below an HCA with forty ports, as switchdev mode makes them",
        promise: "Threads are left for the other HCAs.",
        test: "an HCA with a port for each representor does not take the others along when its firmware hangs",
        file: "test/hca/hang_test.ts",
      },
      {
        injected: "VFs are being made, which locks their PF for minutes",
        promise: "Nothing is read that waits for the lock.",
        test: "Discovery counts the links to VFs: reading sriov_numvfs waits until the last of new VFs has its driver",
        file: "test/hca/discover_test.ts",
      },
    ],
  },
  {
    title: "libibverbs and the kernel's structures",
    proofs: [
      library(
        "A library that returns NULL, an error, an empty list, or ENOSYS",
        "Each is distinguished and none is an exception; sysfs decides alone.",
        "gives NULL with EPERM",
      ),
      library(
        "A library that counts more devices than it lists, or a billion",
        "The list is read to its own end, within bounds; the answer is refused.",
        "counts more devices than its list holds",
      ),
      library(
        "A library whose names have no end",
        "They are cut at the size of the field.",
        "has names without an end",
      ),
      library(
        "A library that sleeps",
        "The event loop goes on meanwhile.",
        "sleeps while the event loop goes on",
      ),
      library(
        "A library that does not come back",
        "The scan goes on without it, and says so.",
        "does not come back in time",
      ),
      library(
        "A library that takes away the memory of what is freed",
        "Everything was copied before; each list is freed once, before the next is asked for.",
        "takes away the memory of what is freed, and ends the process when a list is freed twice or not at all",
      ),
      {
        injected: "A node so busy that the process cannot run for longer than firmware and library may take",
        promise: "What was answered meanwhile counts: no HCA is said to hang, and none becomes Unhealthy.",
        test: "startDeadline() does not pass before an answer that came while the process could not run",
        file: "test/hca/deadline_test.ts",
      },
      {
        injected: "Another layout of a structure in the installed headers",
        promise: "A few lines of C say sizes, offsets and constants, and ours are the same.",
        test: "the sizes and offsets are those of the C headers",
        file: "test/hca/abi_test.ts",
      },
      {
        injected: "A process that speaks netlink in the kernel's place",
        promise: "It is not believed.",
        test: "netlinkSource() does not believe a process that speaks in the kernel's place",
        file: "test/hca/events/netlink_test.ts",
      },
      {
        injected: "The kubelet's directory is removed, or renamed, and made again",
        promise: "It is looked for every second, and the new one is watched.",
        test: "watchDirectory() polls every second while the directory is ${what}, and watches the new one",
        file: "test/kubelet/directory_watch_test.ts",
      },
      {
        injected: "More netlink messages than the socket holds",
        promise: "The loss is noticed, and everything is scanned.",
        test: "netlinkSource() has everything scanned when the kernel had to drop messages",
        file: "test/hca/events/netlink_test.ts",
      },
    ],
  },
];

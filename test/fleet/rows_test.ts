import { deepEqual, equal } from "@std/assert";
import { fleetOf } from "../../src/fleet/rows.ts";
import { summaryOf } from "../../src/fleet/summary.ts";
import { type ClusterObjects, factsOf, fleet } from "../support/fleet_facts.ts";
import { claim, condition, event, labels, node, NOON, pluginPod, pod, slice } from "../support/fleet_objects.ts";

const RAIL = "rdma/rail";
const LATER = "2026-11-30T12:20:00Z";

interface Case {
  readonly name: string;
  readonly objects: ClusterObjects;
  /** Problems as "kind, hca, resources, reason, since, times, pods, certain". */
  readonly problems: readonly (readonly unknown[])[];
}

const device = (
  hca: string | null,
  resource: string | null,
  reason: string,
  { since = null as string | null, times = 1, pods = [] as string[], certain = true } = {},
) => ["device", hca, resource === null ? [] : [resource], reason, since, times, pods, certain];

const CASES: readonly Case[] = [
  {
    name: "all is well",
    objects: { nodes: [node("n", { [RAIL]: [2, 2] })], pods: [pod("a", "n", { [RAIL]: 1 }), pluginPod("n")] },
    problems: [],
  },
  {
    name: "counts alone: it is not known which device, so every pod of the resource may be on it",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2], "rdma/other": [1, 1] })],
      pods: [pod("a", "n", { [RAIL]: 1 }), pod("b", "n", { "rdma/other": 1 })],
    },
    problems: [device(null, RAIL, "1 of 2 devices are not allocatable", { pods: ["ml/a"], certain: false })],
  },
  {
    name: "the pod's status says which device",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2] })],
      pods: [
        pod("a", "n", { [RAIL]: 1 }, [[RAIL, "mlx5_1", "Unhealthy"]]),
        pod("b", "n", { [RAIL]: 1 }, [[RAIL, "mlx5_0", "Healthy"]]),
      ],
    },
    problems: [device("mlx5_1", RAIL, "the kubelet reports it as Unhealthy", { pods: ["ml/a"] })],
  },
  {
    name: "a share of a device is its HCA's",
    objects: {
      nodes: [node("n", { [RAIL]: [4, 8] })],
      pods: [pod("a", "n", { [RAIL]: 1 }, [[RAIL, "mlx5_1::3", "Unhealthy"]])],
    },
    problems: [device("mlx5_1", RAIL, "the kubelet reports it as Unhealthy", { pods: ["ml/a"] })],
  },
  {
    name: "an HCA that is in two resources is one problem, with the pods of both",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2], "rdma/one": [4, 8] })],
      pods: [
        pod("a", "n", { [RAIL]: 1 }, [[RAIL, "mlx5_1", "Unhealthy"]]),
        pod("b", "n", { "rdma/one": 1 }, [["rdma/one", "mlx5_1::0", "Healthy"]]),
      ],
      events: [
        event("n", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN", LATER),
        event("n", "mlx5_1 of rdma/one is Unhealthy: port 1 is DOWN", LATER),
      ],
    },
    problems: [[
      "device",
      "mlx5_1",
      [RAIL, "rdma/one"],
      "port 1 is DOWN",
      LATER,
      1,
      ["ml/a", "ml/b"],
      true,
    ]],
  },
  {
    name: "a share of all devices may be on it",
    objects: {
      nodes: [
        node("n", { [RAIL]: [4, 4] }, {
          conditions: [condition("1 of 2 devices not healthy: mlx5_1: port 1 is DOWN")],
        }),
      ],
      pods: [pod("a", "n", { [RAIL]: 1 }, [[RAIL, "2", "Healthy"]])],
    },
    problems: [device("mlx5_1", null, "port 1 is DOWN", { since: NOON, pods: ["ml/a"], certain: false })],
  },
  {
    name: "the condition says reason and time, of each device",
    objects: {
      nodes: [node("n", { [RAIL]: [0, 2] }, {
        conditions: [condition("2 of 2 devices not healthy: mlx5_0: port 1 is DOWN (Polling); mlx5_1: it is gone")],
      })],
      pods: [pod("a", "n", { [RAIL]: 1 }, [[RAIL, "mlx5_0", "Unhealthy"]])],
    },
    problems: [
      device("mlx5_0", RAIL, "port 1 is DOWN (Polling)", { since: NOON, pods: ["ml/a"] }),
      device("mlx5_1", null, "it is gone", { since: NOON }),
    ],
  },
  {
    name: "a condition in other words is one problem",
    objects: {
      nodes: [node("n", {}, { conditions: [condition("rdma/rail is not registered with the kubelet: refused")] })],
    },
    problems: [device(null, null, "rdma/rail is not registered with the kubelet: refused", { since: NOON })],
  },
  {
    name: "the last event says reason, time, number and resource of the one device",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2] }, {
        conditions: [condition("1 of 2 devices not healthy: mlx5_1: port 1 goes down again and again")],
      })],
      events: [
        event("n", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN (Polling)", LATER, 7),
        event("n", "mlx5_1 of rdma/rail is Unhealthy: it is gone", NOON),
        event("elsewhere", "mlx5_1 of rdma/rail is Unhealthy: another one"),
      ],
    },
    problems: [device("mlx5_1", RAIL, "port 1 is DOWN (Polling)", { since: LATER, times: 7 })],
  },
  {
    name: "events name what the counts only count",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2] })],
      events: [event("n", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN", LATER)],
    },
    problems: [device("mlx5_1", RAIL, "port 1 is DOWN", { since: LATER })],
  },
  {
    name: "an event of something that is over is nothing",
    objects: {
      nodes: [node("n", { [RAIL]: [2, 2] })],
      events: [
        event("n", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN", NOON),
        event("n", "mlx5_1 of rdma/rail is Healthy again", LATER),
      ],
    },
    problems: [],
  },
  {
    name: "a claim has a device that the kubelet's list calls Unhealthy: the plugin says that all is well, and runs",
    objects: {
      nodes: [node("n", { [RAIL]: [1, 2] }, { conditions: [{ type: "RDMAReady", status: "True" }] })],
      pods: [pluginPod("n")],
    },
    problems: [],
  },
  {
    name: "a plugin that is gone cannot say that all is well",
    objects: {
      nodes: [node("n", { [RAIL]: [0, 2] }, { conditions: [{ type: "RDMAReady", status: "True" }] })],
      pods: [pod("a", "n", {})],
    },
    problems: [device(null, RAIL, "2 of 2 devices are not allocatable")],
  },
  {
    name: "a taint says which device and since when; the event says why, the claim whose",
    objects: {
      nodes: [node("n")],
      slices: [slice("n", [{ hca: "mlx5_0" }, { hca: "mlx5_1", taint: "link-down" }])],
      claims: [claim("a", "n", ["mlx5_1"]), claim("b", "n", ["mlx5_0"])],
      events: [event("n", "mlx5_1 of rdma/rail is Unhealthy: port 1 is DOWN (Polling)", LATER)],
    },
    problems: [device("mlx5_1", RAIL, "port 1 is DOWN (Polling)", { since: NOON, pods: ["ml/a"] })],
  },
  {
    name: "a device that the device plugin's pods have is not down",
    objects: { nodes: [node("n")], slices: [slice("n", [{ hca: "mlx5_0", taint: "held-by-device-plugin" }])] },
    problems: [],
  },
  {
    name: "a node that is not Ready, and a plugin that is not",
    objects: {
      nodes: [node("n", { [RAIL]: [2, 2] }, {
        conditions: [{ type: "Ready", status: "Unknown", message: "Kubelet stopped", lastTransitionTime: NOON }],
      })],
      pods: [pluginPod("n", "0.1.0", false)],
    },
    problems: [
      ["node", null, [], "the node is not Ready: Kubelet stopped", NOON, 1, [], true],
      ["plugin", null, [], "the plugin's pod kube-system/rdma-device-plugin-n is not Ready", null, 1, [], true],
    ],
  },
  {
    name: "a plugin that does not start on a node of which nothing else is known",
    objects: { nodes: [node("n")], pods: [pluginPod("n", "0.1.0", false)] },
    problems: [
      ["plugin", null, [], "the plugin's pod kube-system/rdma-device-plugin-n is not Ready", null, 1, [], true],
    ],
  },
];

for (const { name, objects, problems } of CASES) {
  Deno.test(`what is down on a node: ${name}`, () => {
    const [row] = fleet(objects).rows;
    deepEqual(
      row!.problems.map((one) => [
        one.kind,
        one.hca,
        one.resources,
        one.reason,
        one.since,
        one.times,
        one.pods,
        one.podsCertain,
      ]),
      problems,
    );
  });
}

Deno.test("a row's numbers come from labels and counts", () => {
  const found = fleet({
    nodes: [node("n", { [RAIL]: [3, 4], "nvidia.com/gpu": [8, 8] }, {
      labels: labels({ hcas: 4, "ports-active": 3, ports: 4, "rate-gbps": 200, firmware: "20.31" }),
    })],
    pods: [pod("a", "n", { [RAIL]: 2, "nvidia.com/gpu": 1 }), pluginPod("n", "0.2.0")],
  }).rows[0]!;
  deepEqual(found.resources, [{ name: RAIL, api: "device-plugin", capacity: 4, allocatable: 3, used: 2 }]);
  deepEqual([found.hcas, found.ports, found.rateGbps], [4, { active: 3, all: 4 }, { least: 200, most: 200 }]);
  deepEqual(found.firmware, { "20.31": 4 });
  deepEqual([found.pods, found.plugins], [["ml/a"], [{ version: "0.2.0", ready: true }]]);
});

Deno.test("a row's numbers come from slices of the newest generation, and claims", () => {
  const found = fleet({
    nodes: [node("n")],
    slices: [
      slice("n", [{ hca: "mlx5_9" }], 1),
      slice("n", [
        { hca: "mlx5_0", shares: 4 },
        { hca: "mlx5_1", firmware: "28.36.1010", rate: 100, taint: "link-down" },
      ], 2),
    ],
    claims: [claim("a", "n", ["mlx5_0"], 2), claim("b", "n", ["mlx5_0"], 1)],
  }).rows[0]!;
  deepEqual(found.resources, [{ name: RAIL, api: "dra", capacity: 5, allocatable: 4, used: 3 }]);
  deepEqual([found.hcas, found.ports, found.rateGbps], [2, { active: 1, all: 2 }, { least: 100, most: 400 }]);
  deepEqual(found.firmware, { "28.39.1002": 1, "28.36.1010": 1 });
  deepEqual(found.pods, ["ml/a", "ml/b"]);
});

Deno.test("containers, sidecars and init containers count as the scheduler counts them", () => {
  const asks = (n: number, over: object = {}) => ({ resources: { requests: { [RAIL]: String(n) } }, ...over });
  const used = (containers: object[], initContainers: object[]) => {
    const one = { metadata: { name: "p", namespace: "x" }, spec: { nodeName: "n", containers, initContainers } };
    return fleet({ nodes: [node("n", { [RAIL]: [9, 9] })], pods: [one] }).rows[0]!.resources[0]!.used;
  };
  equal(used([asks(1), asks(2)], []), 3);
  equal(used([asks(1)], [asks(4)]), 4);
  equal(used([asks(1)], [asks(2, { restartPolicy: "Always" }), asks(3)]), 5);
  equal(used([{}], []), 0);
});

Deno.test("pods that have ended, and nodes without adapters, are no rows", () => {
  const ended = { ...pod("a", "n", { [RAIL]: 1 }), status: { phase: "Failed" } };
  const found = fleet({ nodes: [node("n"), node("m", { "nvidia.com/gpu": [8, 8] })], pods: [ended, pluginPod("n")] });
  deepEqual(found, { rows: [], without: 2 });
});

Deno.test("without node objects, what pods and slices say is shown; with a selector it is not", () => {
  const facts = factsOf({ pods: [pod("a", "n2", { [RAIL]: 1 })], slices: [slice("n10", [{ hca: "mlx5_0" }])] });
  deepEqual(fleetOf(facts, false, () => true).rows.map((one) => one.name), ["n2", "n10"]);
  deepEqual(fleetOf(facts, true, () => true).rows, []);
  deepEqual(fleetOf(facts, false, (name) => name === "n2").rows.map((one) => one.name), ["n2"]);
});

Deno.test("what cannot be read is not known, instead of nothing", () => {
  const facts = factsOf({ nodes: [node("n", { [RAIL]: [1, 1] })], slices: [slice("n", [{ hca: "mlx5_0" }])] });
  const { rows } = fleetOf({ ...facts, known: { pods: false, claims: false } }, false, () => true);
  deepEqual(rows[0]!.resources.map((one) => one.used), [null, null]);
  deepEqual(summaryOf({ rows, without: 0 }).resources.map((one) => one.used), [null, null]);
});

Deno.test("the summary counts nodes, devices, firmware and versions, the most frequent first", () => {
  const nodes = ["a", "b", "c"].map((name) => node(name, { [RAIL]: [name === "c" ? 1 : 2, 2] }));
  const found = summaryOf(fleet({
    nodes: [...nodes, node("login")],
    slices: [slice("a", [{ hca: "mlx5_0" }]), slice("b", [{ hca: "mlx5_0" }, { hca: "mlx5_1", firmware: "1.0" }])],
    pods: [pluginPod("a", "0.2.0"), pluginPod("b"), pluginPod("c"), pod("x", "c", { [RAIL]: 1 })],
  }));
  deepEqual([found.nodes, found.down, found.withoutAdapters], [3, 1, 1]);
  deepEqual(found.resources, [
    { name: RAIL, api: "device-plugin", nodes: 3, capacity: 6, allocatable: 5, used: 1 },
    { name: RAIL, api: "dra", nodes: 2, capacity: 3, allocatable: 3, used: 0 },
  ]);
  deepEqual(found.firmware, [
    { version: "28.39.1002", hcas: 2, nodes: 2, examples: ["a", "b"] },
    { version: "1.0", hcas: 1, nodes: 1, examples: ["b"] },
  ]);
  deepEqual(found.plugins.map((one) => [one.version, one.nodes]), [["0.1.0", 2], ["0.2.0", 1]]);
});

import { deepEqual, equal, ok } from "@std/assert";
import { readFileSync } from "node:fs";
import { asJson } from "../../src/fleet/json.ts";
import { matcher } from "../../src/fleet/patterns.ts";
import { age, asText } from "../../src/fleet/table.ts";
import { golden } from "../support/golden.ts";
import { fleet } from "../support/fleet_facts.ts";
import { ASKED, claim, condition, event, labels, node, pluginPod, pod, slice } from "../support/fleet_objects.ts";

const plain = (_style: string, words: string) => words;
const RAIL = "rdma/rail";
const known = labels({ hcas: 8, ports: 8, "ports-active": 8, "rate-gbps": 400, firmware: "28.39" });

const CLUSTER = fleet({
  nodes: [
    node("gpu-001", { [RAIL]: [8, 8], "rdma/storage": [16, 16] }, { labels: known }),
    node("gpu-002", { [RAIL]: [7, 8], "rdma/storage": [16, 16] }, {
      labels: { ...known, ...labels({ "ports-active": 7 }) },
      conditions: [condition("1 of 24 devices not healthy: mlx5_3: port 1 is DOWN (Polling)")],
    }),
    node("gpu-010"),
    node("login-1"),
  ],
  pods: [
    pod("train-0", "gpu-001", { [RAIL]: 8 }),
    pod("train-1", "gpu-002", { [RAIL]: 8 }, [[RAIL, "mlx5_3", "Unhealthy"]]),
    ...["gpu-001", "gpu-002"].map((name) => pluginPod(name)),
    pluginPod("gpu-010", "0.2.0"),
  ],
  slices: [
    slice("gpu-010", [
      { hca: "mlx5_0" },
      { hca: "mlx5_1", firmware: "28.36.1010", rate: 100 },
      { hca: "mlx5_2", taint: "link-down" },
    ]),
  ],
  claims: [claim("train-2", "gpu-010", ["mlx5_0", "mlx5_2"])],
  events: [
    event("gpu-002", "mlx5_3 of rdma/rail is Unhealthy: port 1 is DOWN (Polling)", "2026-11-30T12:18:00Z", 3),
  ],
});

Deno.test("the fleet as text: a line per node and resource, what is down, the totals", () => {
  golden("fleet/table.txt", asText(CLUSTER, plain, { onlyDown: false, notes: [], now: ASKED }));
});

Deno.test("only what is down, with what could not be read", () => {
  const notes = ["events cannot be read"];
  const text = asText(CLUSTER, plain, { onlyDown: true, notes, now: ASKED });
  ok(!text.includes("gpu-001 "));
  golden("fleet/down.txt", text);
});

Deno.test("a fleet without adapters, and one of which little is known", () => {
  golden("fleet/none.txt", asText(fleet({ nodes: [node("n")] }), plain, { onlyDown: false, notes: [], now: ASKED }));
  const little = fleet({ nodes: [node("n", { [RAIL]: [1, 2] })] });
  golden("fleet/little.txt", asText(little, plain, { onlyDown: false, notes: [], now: ASKED }));
});

Deno.test("terminal sequences from the cluster do not reach the terminal, as text or as JSON", () => {
  const bad = "\u001b]0;x\u0007\u202e";
  const hostile = fleet({
    nodes: [node(`n${bad}`, { [`rdma/${bad}`]: [1, 2] }, {
      labels: labels({ firmware: bad }),
      conditions: [condition(bad)],
    })],
    pods: [pluginPod(`n${bad}`, bad)],
  });
  const text = asText(hostile, plain, { onlyDown: false, notes: [bad], now: ASKED });
  const json = [
    ...asJson(hostile, { onlyDown: false, missing: [{ what: bad, reason: bad, without: bad }], now: ASKED }),
  ];
  // deno-lint-ignore no-control-regex
  ok(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/.test(text + json.join("")));
  equal(JSON.parse(json.join("")).nodes[0].name, `n${bad}`);
});

Deno.test("the fleet as JSON is one object, however many parts it came in", () => {
  const nodes = Array.from({ length: 450 }, (_, i) => node(`n${i}`, { [RAIL]: [i === 7 ? 1 : 2, 2] }));
  const big = fleet({ nodes });
  const parts = [...asJson(big, { onlyDown: false, missing: [], now: ASKED })];
  ok(parts.length > 3);
  const whole = JSON.parse(parts.join(""));
  deepEqual(Object.keys(whole), ["time", "summary", "missing", "nodes"]);
  equal(whole.nodes.length, 450);
  equal(whole.time, "2026-11-30T12:30:00.000Z");
  const down = JSON.parse([...asJson(big, { onlyDown: true, missing: [], now: ASKED })].join(""));
  deepEqual(down.nodes.map((one: { name: string; state: string }) => [one.name, one.state]), [["n7", "down"]]);
  equal(down.summary.nodes, 450);
  deepEqual(JSON.parse([...asJson(fleet({}), { onlyDown: false, missing: [], now: ASKED })].join("")).nodes, []);
});

Deno.test("docs/fleet.md names every key of the JSON", () => {
  const docs = readFileSync(new URL("../../docs/fleet.md", import.meta.url), "utf8");
  const documented = new Set([...docs.matchAll(/`(\w+)`/g)].map((one) => one[1]!));
  const whole = JSON.parse(
    [...asJson(CLUSTER, { onlyDown: false, missing: [{ what: "", reason: "", without: "" }], now: ASKED })].join(""),
  );
  const keys = (value: unknown): string[] =>
    Array.isArray(value)
      ? value.flatMap(keys)
      : typeof value !== "object" || value === null
      ? []
      : Object.entries(value)
        .flatMap(([key, inner]) => key === "firmware" && !Array.isArray(inner) ? [key] : [key, ...keys(inner)]);
  deepEqual([...new Set(keys(whole))].filter((key) => !documented.has(key)), []);
});

Deno.test("matcher() takes names and *, separated by commas", () => {
  const match = matcher("gpu-*, login-1,*.rack[2]");
  deepEqual(["gpu-1", "gpu-", "login-1", "login-12", "a.rack[2]", "a.rack2"].map(match), [
    true,
    true,
    true,
    false,
    true,
    false,
  ]);
  equal(matcher("")("x"), false);
});

Deno.test("age() names the largest unit that there are two of", () => {
  deepEqual([0, 90e3, 120e3, 7_200e3, 172_800e3, -5, NaN].map(age), ["0 s", "90 s", "2 min", "2 h", "2 d", "0 s", "?"]);
});

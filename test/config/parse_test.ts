import { deepEqual, equal } from "@std/assert";
import { formatMistakes, parseConfig } from "../../src/config/mod.ts";
import type { Config } from "../../src/config/mod.ts";
import { parseDuration } from "../../src/text/duration.ts";
import { DEFAULT_SPEC } from "../../src/pool/spec.ts";
import type { ResourceSpec } from "../../src/pool/spec.ts";

function config(text: string, file = "c.yaml", resourcePrefix = ""): Config {
  const result = parseConfig(text, file, { resourcePrefix });
  if (!result.ok) throw new Error(formatMistakes(result.mistakes));
  return result.config;
}

/** The only resource of a config whose resource has these lines. */
function spec(...lines: string[]): ResourceSpec {
  const { resources } = config(["resources:", "  - name: rdma/a", ...lines.map((line) => `    ${line}`)].join("\n"));
  return resources[0]!;
}

/** Position, path and code of everything that is said about the text. */
function placed(text: string, file = "c.yaml"): string[] {
  const result = parseConfig(text, file);
  const said = result.ok ? result.config.warnings : result.mistakes;
  return said.map(({ line, column, path, code }) => `${line}:${column} ${path} ${code}`);
}

Deno.test("parseConfig() takes hex IDs as people write them, quoted or not", () => {
  const { select } = spec(
    "select: {vendors: [15b3, 0x15B3, 8086, '0x1'], devices: [15e3, 1017, 0x1018], pkeys: [8001, 0xFFFF]}",
  );
  deepEqual(select, [{
    vendors: ["15b3", "15b3", "8086", "0001"],
    devices: ["15e3", "1017", "1018"],
    pkeys: ["0x8001", "0xffff"],
  }]);
});

Deno.test("parseConfig() reads every selector key", () => {
  const { select, exclude } = spec(
    "select:",
    "  hcas: ['mlx5_*']",
    "  drivers: [mlx5_core]",
    "  pciAddresses: ['0000:3B:00.*']",
    "  netdevs: [eth1]",
    "  masters: [eth2]",
    "  transports: [IB, RoCE, iWARP, EFA]",
    "  numaNodes: [0, 1]",
    "  kinds: [pf, vf, sf, virtual]",
    "  minRate: 12.5",
    "  pfWithVfs: false",
    "exclude: [{linkLayers: [Ethernet]}]",
  );
  deepEqual(select, [{
    hcas: ["mlx5_*"],
    drivers: ["mlx5_core"],
    pciAddresses: ["0000:3b:00.*"],
    netdevs: ["eth1"],
    masters: ["eth2"],
    transports: ["IB", "RoCE", "iWARP", "EFA"],
    numaNodes: [0, 1],
    kinds: ["pf", "vf", "sf", "virtual"],
    minRateGbps: 12.5,
    pfWithVfs: false,
  }]);
  deepEqual(exclude, [{ linkLayers: ["Ethernet"] }]);
});

Deno.test("parseConfig() reads ports, require and durations of health", () => {
  const health = (text: string) => spec(`health: ${text}`).health;
  deepEqual(health("{ports: [2, 1, 2], require: all, settle: 500ms, grace: 0}"), {
    policy: "auto",
    ports: [1, 2],
    require: "all",
    settleMs: 500,
    graceMs: 0,
    errors: [],
  });
  equal(health("{ports: [1]}").require, "any");
  deepEqual(health("{ports: all}"), { ...DEFAULT_SPEC.health, require: "all" });
  deepEqual(health("{}"), DEFAULT_SPEC.health);
});

Deno.test("parseConfig() reads limits of errors, and warns of counters that never reach them", () => {
  const text = (errors: string) => `resources: [{name: rdma/a, health: {errors: ${errors}}}]`;
  deepEqual(spec("health: {errors: {link_downed: 5 per 10m, out_of_sequence: 100 per 1.5s}}").health.errors, [
    { counter: "link_downed", limit: 5, windowMs: 600_000 },
    { counter: "out_of_sequence", limit: 100, windowMs: 1_500 },
  ]);
  deepEqual(spec("health: {errors: {}}").health, DEFAULT_SPEC.health);
  deepEqual(config(text("{link_downed: 255 per 1h, rcvd_seq_err: 1 per 1s}")).warnings, []);
  const unlikely = text("{link_downd: 5 per 1h, link_downed: 256 per 1h, vendor_drops: 1 per 1h}");
  deepEqual(config(unlikely).warnings.map(({ path, code, hint }) => [path.split(".").at(-1), code, hint]), [
    ["link_downd", "wrong-counter", 'did you mean "link_downed"?'],
    ["link_downed", "no-effect", null],
    ["vendor_drops", "wrong-counter", null],
  ]);
});

Deno.test("parseConfig() reads devices and mounts, short and long", () => {
  const { expose } = spec(
    "expose:",
    "  devices: [/dev/a, {hostPath: /dev/b, containerPath: /dev/c, permissions: rwm, optional: true}]",
    "  mounts: [/etc/a, {hostPath: /etc/b, containerPath: /etc/c, readOnly: false}]",
  );
  deepEqual(expose.devices, [
    { hostPath: "/dev/a", containerPath: "/dev/a", permissions: "rw", optional: false },
    { hostPath: "/dev/b", containerPath: "/dev/c", permissions: "rwm", optional: true },
  ]);
  deepEqual(expose.mounts, [
    { hostPath: "/etc/a", containerPath: "/etc/a", readOnly: true },
    { hostPath: "/etc/b", containerPath: "/etc/c", readOnly: false },
  ]);
});

Deno.test("parseConfig() reads each switch of env and expose by itself", () => {
  for (const key of ["nccl", "ucx", "pcidevice"] as const) {
    deepEqual(spec(`env: {${key}: true}`).env, { ...DEFAULT_SPEC.env, [key]: true });
  }
  for (const key of ["issm", "knem"] as const) {
    deepEqual(spec(`expose: {${key}: false}`).expose, { ...DEFAULT_SPEC.expose, [key]: false });
  }
});

Deno.test("parseConfig() reads rescan, also as never and as a number", () => {
  const rescan = (text: string) => config(`rescan: ${text}\nresources: [{name: rdma/a}]`).rescanSeconds;
  deepEqual(["30s", "1.5m", "90", "0"].map(rescan), [30, 90, 90, 0]);
  equal(parseDuration("90s"), 90_000);
});

Deno.test("parseConfig() follows aliases of whole values", () => {
  const { resources } = config(
    "resources:\n  - name: rdma/a\n    health: &h {grace: 5m}\n  - name: rdma/b\n    health: *h\n",
  );
  deepEqual(resources.map(({ health }) => health.graceMs), [300_000, 300_000]);
});

Deno.test("parseConfig() counts columns behind a byte order mark as if it were not there", () => {
  deepEqual(placed("\uFEFFresource: []\n"), ["1:1 resource unknown-key"]);
});

Deno.test("parseConfig() reports mistakes of every resource at once, in the order of the file", () => {
  const text =
    "resources:\n  - name: rdma/a\n    mode: shared\n  - nam: rdma/b\n    cdi: 1\n  - name: rdma/a\nfoo: 1\n";
  deepEqual(placed(text), [
    "3:11 resources[0].mode missing",
    "3:11 resources[0].mode missing",
    "4:5 resources[1].nam unknown-key",
    "5:10 resources[1].cdi wrong-type",
    "6:11 resources[2].name duplicate-name",
    "7:1 foo unknown-key",
  ]);
});

Deno.test("parseConfig() warns of comments and commas in a file that is named .json", () => {
  const text = '{\n  "resources": [{"name": "rdma/a"},], # rails\n}\n';
  deepEqual(placed(text, "c.json"), ["1:1  not-json"]);
  deepEqual(config(text, "c.yaml").warnings, []);
  deepEqual(config('{"resources": [{"name": "rdma/a"}]}', "c.json").warnings, []);
});

Deno.test("parseConfig() reads JSON with tabs and escapes", () => {
  equal(
    config(
      '{\n\t"resources": [\n\t\t{"name": "rdma\\/a", "env": {"extra": {"A": "\\u00e9\\ud83d\\ude00"}}}]}',
      "c.json",
    ).resources[0]?.env.extra.A,
    "é😀",
  );
});

Deno.test("parseConfig() warns of more devices than the kubelet takes, and of ports that nobody looks at", () => {
  const text = "resources:\n  - name: rdma/a\n    mode: shared\n    share: one\n    shares: 6000\n" +
    "  - name: rdma/b\n    health: {policy: present, ports: [1]}\n";
  deepEqual(placed(text), ["5:13 resources[0].shares too-large", "7:38 resources[1].health.ports no-effect"]);
});

Deno.test("parseConfig() folds the case of a peer's keys, and warns of unknown, repeated and null ones as Go reads them", () => {
  const text = '{"CONFIGLIST": [{"ResourceName": "a", "RDMAHCAMAX": 5, "rdmaHcaMax": 7, "resourcePrefix": null,\n' +
    '  "Selectors": {"DeviceIds": ["1017"], "vendor": ["15b3"]}, "selectorz": {}}], "periodicUpdateinterval": 0}';
  const { resources } = config(text, "c.json");
  deepEqual(resources.map(({ name, mode, select }) => [name, mode, select]), [
    ["rdma/a", { kind: "shared", shares: 7, of: "all" }, [{ devices: ["1017"] }]],
  ]);
  deepEqual(placed(text, "c.json"), [
    "1:56 CONFIGLIST[0].rdmaHcaMax duplicate-key",
    "2:40 CONFIGLIST[0].Selectors.vendor unknown-key",
    "2:61 CONFIGLIST[0].selectorz unknown-key",
  ]);
});

Deno.test("parseConfig() gives the shared device plugin's defaults: prefix rdma, a scan each minute, empty lists as no condition", () => {
  const { resources, rescanSeconds } = config(
    '{"configList": [{"resourceName": "a", "rdmaHcaMax": 1, "selectors": {"ifNames": ["ib0"], "vendors": []}}]}',
  );
  equal(rescanSeconds, 60);
  deepEqual(resources.map(({ name, select }) => [name, select]), [["rdma/a", [{ netdevs: ["ib0"] }]]]);
});

Deno.test("parseConfig() leaves out a shared resource without shares, with a warning", () => {
  const text =
    '{"configList": [{"resourceName": "a", "rdmaHcaMax": 0, "devices": ["ib0"]}, {"resourceName": "b", "rdmaHcaMax": 1, "devices": ["ib0"]}]}';
  deepEqual(config(text).resources.map(({ name }) => name), ["rdma/b"]);
  deepEqual(placed(text), ["1:53 configList[0].rdmaHcaMax no-effect"]);
});

Deno.test("parseConfig() takes the SR-IOV plugin's prefix from the file, then from the option, then intel.com", () => {
  const text = '{"resourceList": [{"resourceName": "a", "selectors": {"isRdma": true}},\n' +
    '{"resourceName": "b", "resourcePrefix": "example.org", "selectors": [{"isRdma": true}]}]}';
  const names = (prefix?: string) => config(text, "c.json", prefix).resources.map(({ name }) => name);
  deepEqual(names(), ["intel.com/a", "example.org/b"]);
  deepEqual(names("acme.io"), ["acme.io/a", "example.org/b"]);
});

Deno.test("parseConfig() reads a rootDevice as a PF, and needVhostNet as device nodes", () => {
  const { resources } = config(
    '{"resourceList": [{"resourceName": "a", "selectors": {"isRdma": true, "rootDevices": ["0000:3B:00.0#0-1"], "needVhostNet": true}}]}',
  );
  deepEqual(resources[0]?.select, [{ pfs: [{ pf: "0000:3b:00.0", vfs: [0, 1] }] }]);
  deepEqual(resources[0]?.expose.devices.map((one) => one.hostPath), ["/dev/vhost-net", "/dev/net/tun"]);
});

Deno.test("parseConfig() leaves out resources, and selectors of a list, without isRdma, with a warning", () => {
  const text =
    '{"resourceList": [{"resourceName": "a", "selectors": [{"vendors": ["8086"]}, {"vendors": ["15b3"], "isRdma": true}]}]}';
  deepEqual(config(text).resources[0]?.select, [{ vendors: ["15b3"] }]);
  deepEqual(placed(text), ["1:55 resourceList[0].selectors[0] no-effect"]);
  const plain = `{"resourceList": [\n{"resourceName": "a", "selectors": {"isRdma": true}},\n{"resourceName": "b"}]}`;
  deepEqual(placed(plain), ["3:1 resourceList[1] no-effect"]);
});

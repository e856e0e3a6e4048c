/**
 * Config files with mistakes in them, one kind each. What is said about them is in test/config/golden/mistakes.txt.
 *
 * @module
 */

/** One file; `shape` when a JSON Schema can see the mistake too. */
export interface Malformed {
  readonly about: string;
  readonly file: string;
  readonly text: string;
  readonly shape?: true;
}

const yaml = (about: string, text: string, shape?: true): Malformed => ({
  about,
  file: "config.yaml",
  text,
  ...shape && { shape },
});
const json = (about: string, text: string): Malformed => ({ about, file: "config.json", text });
/** One resource with these lines in it. */
const one = (about: string, lines: string, shape?: true): Malformed =>
  yaml(about, `resources:\n  - name: rdma/a\n${lines.replace(/^/gm, "    ")}\n`, shape);
const shared = (about: string, entry: string): Malformed => json(about, `{"configList": [\n  ${entry}\n]}\n`);
const sriov = (about: string, entry: string): Malformed => json(about, `{"resourceList": [\n  ${entry}\n]}\n`);

export const MALFORMED: readonly Malformed[] = [
  // The document
  yaml("empty file", ""),
  yaml("only a comment", "# nothing yet\n"),
  yaml("a list at the top", "- name: rdma/a\n", true),
  yaml("text at the top", "resources\n", true),
  yaml("two documents", "resources:\n  - name: rdma/a\n---\nresources:\n  - name: rdma/b\n"),
  yaml("tab as indentation", "resources:\n\t- name: rdma/a\n"),
  yaml("unclosed bracket", "resources:\n  - name: rdma/a\n    select: {hcas: [mlx5_0}\n"),
  yaml("a mapping on one line", "resources:\n  - name: rdma/a: b\n"),
  yaml("duplicate key", "resources:\n  - name: rdma/a\n    cdi: true\n    cdi: false\n"),
  yaml("unquoted glob", "resources:\n  - name: rdma/a\n    select: {hcas: [*]}\n"),
  yaml("unquoted glob with a name", "resources:\n  - name: rdma/a\n    select: {hcas: [*x]}\n"),
  yaml("merge key", "resources:\n  - &a\n    name: rdma/a\n  - <<: *a\n    name: rdma/b\n"),
  yaml(
    "alias bomb",
    "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n" +
      "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n" +
      "resources: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
  ),
  yaml("alias of itself", "resources: &a\n  - *a\n"),
  yaml("a tag", "resources: !!set\n  - name: rdma/a\n"),
  yaml("a prototype", "resources:\n  - name: rdma/a\n    env: {extra: {__proto__: x}}\n"),
  yaml("a list as a key", "? [a, b]\n: 1\n"),
  yaml("a Kubernetes manifest", "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n    resources: []\n", true),
  yaml("deep brackets", `resources: ${"[".repeat(400)}${"]".repeat(400)}\n`),
  yaml("deep lists", `resources:\n  - name: rdma/a\n    select:\n      ${"- ".repeat(40)}a\n`),
  json("broken JSON", '{"resources": [{"name": "rdma/a"}\n'),
  json("JSON that is YAML, with a mistake", '{"resources": [{"name": "rdma/a", "cdi": 1,}]} # why\n'),
  // Keys and kinds of values
  yaml("top-level key", "resource:\n  - name: rdma/a\n", true),
  yaml("no resources", "rescan: 30s\n", true),
  yaml("empty list of resources", "resources: []\n", true),
  yaml("a resource that is text", "resources:\n  - rdma/a\n", true),
  yaml("unknown version", "version: v2\nresources:\n  - name: rdma/a\n", true),
  yaml("rescan without unit", 'rescan: "30"\nresources:\n  - name: rdma/a\n', true),
  yaml("rescan too often", "rescan: 10ms\nresources:\n  - name: rdma/a\n"),
  one("mistyped keys", "shelect: {hcas: [a]}\nhealt: {}\nfoo: bar", true),
  one("key of another format", "rdmaHcaMax: 63", true),
  one("mistyped selector key", "select:\n  - hcas: [mlx5_0]\n  - vendor: [15b3]", true),
  one("text where a list is expected", "select: {hcas: mlx5_0}", true),
  one("empty list", "select: {hcas: []}", true),
  one("a boolean by another name", "cdi: yes\ntopology: nope", true),
  one("nothing", "health:\nselect:", true),
  one("mode", "mode: exclusiv", true),
  one("mode in capitals", "mode: Exclusive", true),
  one("link layer of a peer", "select: {linkLayers: [ether]}", true),
  one("transport", "select: {transports: [ROCE, tcp]}", true),
  one("hex IDs", "select: {vendors: [15b3, mellanox], devices: [12345]}", true),
  one("PCI addresses", 'select: {pciAddresses: ["3b:00.0", "0000:3b:00.8"]}', true),
  one("VF ranges", 'select: {pfs: ["eth1#5-2", "eth1#0-65536", "eth1#a", "#1", eth1#]}'),
  one("NUMA node", "select: {numaNodes: [0, -1, 1.5]}", true),
  one("minimum rate", "select: {minRate: 100G}", true),
  one("health", "health: {policy: up, ports: [0], settle: 1 second, grace: -1}", true),
  one("ports", "health: {ports: some}", true),
  one("settle too long", "health: {settle: 25h}"),
  one("paths", "expose:\n  devices: [dev/foo, /dev/../etc]\n  mounts: [{hostPath: /, readonly: true}]", true),
  one("device without a path", "expose: {devices: [{permissions: rx}]}", true),
  one("permissions", "expose: {devices: [{hostPath: /dev/foo, permissions: rr}]}", true),
  one("variables", "env: {extra: {1A: x, B-C: y, D: 3}}", true),
  // Names
  yaml("name without domain", "resources:\n  - name: rdma\n", true),
  yaml("name of Kubernetes", "resources:\n  - name: node.kubernetes.io/rdma\n  - name: requests.rdma/a\n"),
  yaml(
    "names that are no names",
    "resources:\n  - name: RDMA/a\n  - name: rdma/-a\n  - name: a/b/c\n  - name: 7\n",
    true,
  ),
  yaml("long name", `resources:\n  - name: rdma/${"x".repeat(64)}\n`, true),
  yaml("same name twice", "resources:\n  - name: rdma/a\n    cdi: maybe\n  - name: rdma/b\n  - name: rdma/a\n"),
  // Contradictions
  one("shared without a number", "mode: shared"),
  one("shares without shared", "shares: 5\nshare: one\noverlap: true"),
  one("number of shares", "mode: shared\nshares: 0\nshare: one", true),
  one("too many shares", "mode: shared\nshares: 100001\nshare: all", true),
  one("least-used", "prefer: least-used"),
  one(
    "excluded again",
    "select: [{vendors: [15b3]}, {netdevs: [eth1]}]\nexclude: [{netdevs: [eth1]}, {vendors: [0x15B3]}]",
  ),
  one("all excluded", "exclude: {}"),
  one("require without a list", "health: {ports: any, require: all}"),
  one("same path twice", "expose: {devices: [/dev/a, {hostPath: /dev/b, containerPath: /dev/a}]}"),
  one(
    "more VFs than there are",
    `select: {pfs: [${Array.from({ length: 16 }, (_, i) => `"eth${i}#0-65535"`).join(", ")}]}`,
  ),
  // The shared device plugin's format
  json("shared: empty list", '{"configList": []}\n'),
  shared("shared: name with a hyphen", '{"resourceName": "hca-a", "rdmaHcaMax": 10, "devices": ["ib0"]}'),
  shared("shared: no selectors", '{"resourceName": "hca_a", "rdmaHcaMax": 10, "selectors": {"vendors": []}}'),
  shared(
    "shared: both",
    '{"resourceName": "a", "rdmaHcaMax": 1, "devices": ["ib0"], "selectors": {"ifNames": ["ib1"]}}',
  ),
  shared(
    "shared: types",
    '{"resourceName": "a", "rdmaHcaMax": "many", "selectors": {"linkTypes": ["roce"], "vendors": [5555]}}',
  ),
  shared("shared: nothing left", '{"resourceName": "a", "rdmaHcaMax": 0, "devices": ["ib0"]}'),
  shared(
    "shared: same name twice",
    '{"resourceName": "a", "rdmaHcaMax": 1, "devices": ["ib0"]},\n  {"ResourceName": "a", "rdmahcamax": 2, "devices": ["ib1"]}',
  ),
  // The SR-IOV network device plugin's format
  sriov("sriov: not RDMA", '{"resourceName": "a", "selectors": {"vendors": ["8086"]}}'),
  sriov(
    "sriov: what cannot be honoured",
    '{"resourceName": "a", "selectors": {"isRdma": true, "ddpProfiles": ["GTPv1"], "acpiIndexes": ["101"], "vdpaType": "vhost"}}',
  ),
  sriov("sriov: device type", '{"resourceName": "a", "deviceType": "accelerator", "selectors": [{"isRdma": true}]}'),
  sriov(
    "sriov: auxiliary devices of netDevices",
    '{"resourceName": "a", "selectors": {"isRdma": true, "auxTypes": ["sf"]}}',
  ),
  sriov(
    "sriov: auxiliary devices without RDMA",
    '{"resourceName": "a", "deviceType": "auxNetDevice", "selectors": {"isRdma": true, "auxTypes": ["eth"]}}',
  ),
  sriov(
    "sriov: PFs",
    '{"resourceName": "a", "selectors": [{"isRdma": true, "pfNames": ["eth1#9-0"]},\n' +
      '    {"isRdma": true, "pfNames": ["eth1"], "rootDevices": ["0000:3b:00.0#"]}]}',
  ),
  sriov("sriov: domain", '{"resourceName": "a", "resourcePrefix": "Intel.com", "selectors": {"isRdma": true}}'),
  {
    about: "limits of errors that cannot be read, and counters that cannot be meant",
    file: "errors.yaml",
    text: [
      "resources:",
      "  - name: rdma/a",
      "    health:",
      "      errors:",
      "        link_downed: 5",
      "        symbol_error: 5 in 10m",
      "        local_link_integrity_errors: 0 per 10m",
      "        port_rcv_errors: 5 per 10ms",
      "        ../../uevent: 5 per 10m",
      "  - name: rdma/b",
      "    health:",
      "      errors:",
      "        port_xmit_data: 5 per 10m",
      "        lifespan: 5 per 10m",
      "  - name: rdma/c",
      "    health: { errors: [link_downed] }",
      "",
    ].join("\n"),
  },
  // As they are found in public repositories
  sriov("isRdma a level too high", '{"resourceName": "a", "isRdma": true, "selectors": {"vendors": ["15b3"]}}'),
  json("isRdma at the top", '{"isRdma": true, "resourceList": [{"resourceName": "a", "selectors": {}}]}'),
  sriov(
    "resourceList with the shared plugin's keys",
    '{"resourceName": "a", "rdmaHcaMax": 63, "selectors": {"vendors": ["15b3"]}}',
  ),
  shared(
    "configList with the SR-IOV plugin's keys",
    '{"resourceName": "a", "rdmaHcaMax": 4, "selectors": {"isRdma": true, "pfNames": ["ib0"], "devices": ["1017"]}}',
  ),
  shared("selectors a level too high", '{"resourceName": "a", "rdmaHcaMax": 4, "vendors": ["15b3"]}'),
  shared("no selectors", '{"resourceName": "a", "rdmaHcaMax": 4}'),
  json(
    "another plugin's selectors and keys",
    '{"faultDetectPeriod": 5, "configList": [{"resourceName": "a", "rdmaHcaMax": 4, "selectors": {"buses": ["ub"]}}]}',
  ),
  shared("several names in one text", '{"resourceName": "a", "rdmaHcaMax": 4, "selectors": {"ifNames": ["ib0,ib1"]}}'),
  shared("several IDs in one text", '{"resourceName": "a", "rdmaHcaMax": 4, "selectors": {"vendors": ["15b3, 8086"]}}'),
  sriov(
    "linkTypes as the operator's CRD spells them",
    '{"resourceName": "a", "selectors": {"isRdma": true, "linkTypes": ["IB", "eth"]}}',
  ),
  shared(
    "linkTypes by their common name",
    '{"resourceName": "a", "rdmaHcaMax": 4, "selectors": {"linkTypes": ["ethernet", "RoCE", "Infiniband"]}}',
  ),
  json("one entry without its list", '{"resourceName": "rdma/a", "devices": ["x"], "vendors": ["15b3"]}'),
  json("one entry of the other without its list", '{"resourceName": "a", "selectors": {}, "isRdma": true}'),
  shared("the prefix in the name", '{"resourceName": "rdma/a", "rdmaHcaMax": 4, "selectors": {"vendors": ["15b3"]}}'),
  one("our format with a peer's words", "select: {ifNames: [ib0], linkLayers: [ib]}"),
];

/** Files that are accepted with warnings, one kind each; what is said about them is in the same golden file. */
export const WARNED: readonly Malformed[] = [
  json("comments and commas in a file named .json", '{\n  "resources": [{"name": "rdma/a"},], # rails\n}\n'),
  one("more devices than the kubelet takes", "mode: shared\nshare: one\nshares: 6000"),
  one("ports that are not looked at", "health: {policy: present, ports: [1]}"),
  one(
    "counters that are not known, and a limit that is never reached",
    "health: {errors: {link_downd: 5 per 1h, link_downed: 256 per 1h, vendor_drops: 1 per 1h}}",
  ),
  json(
    "a peer's keys in other letter case, repeated, unknown and null",
    '{"CONFIGLIST": [{"ResourceName": "a", "RDMAHCAMAX": 5, "rdmaHcaMax": 7, "resourcePrefix": null,\n' +
      '  "Selectors": {"DeviceIds": ["1017"], "vendor": ["15b3"]}, "selectorz": {}}], "periodicUpdateinterval": 0}',
  ),
  shared(
    "a shared resource without shares beside a good one",
    '{"resourceName": "a", "rdmaHcaMax": 0, "devices": ["ib0"]}, {"resourceName": "b", "rdmaHcaMax": 1, "devices": ["ib0"]}',
  ),
  sriov(
    "a selector without isRdma beside a good one",
    '{"resourceName": "a", "selectors": [{"vendors": ["8086"]}, {"vendors": ["15b3"], "isRdma": true}]}',
  ),
  sriov(
    "selectors' names of the other format",
    '{"resourceName": "a", "selectors": {"isRdma": true, "ifNames": ["ib0"], "deviceIDs": ["1017"]}}',
  ),
];

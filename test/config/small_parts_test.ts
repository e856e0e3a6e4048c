import { deepEqual, equal, match, ok, throws } from "@std/assert";
import * as fc from "fast-check";
import { devicePathProblem, mountPathProblem } from "../../src/config/device_path.ts";
import { durationText, parseDuration } from "../../src/text/duration.ts";
import { inOrder, type Mistake, pathText } from "../../src/config/mistakes.ts";
import { nameProblem } from "../../src/config/name.ts";
import { nearest } from "../../src/text/nearest.ts";
import { readPf, toPfRange } from "../../src/config/vf_ranges.ts";

Deno.test("parseDuration() reads units and seconds, and nothing else", () => {
  deepEqual(["500ms", "30s", "1.5m", "2h", "0s", 30, 0.25, 0].map(parseDuration), [
    500,
    30_000,
    90_000,
    7_200_000,
    0,
    30_000,
    250,
    0,
  ]);
  deepEqual(
    ["30", "s", "", " 1s", "1 s", "-1s", "1d", "1e3s", -1, NaN, Infinity].map(parseDuration),
    Array(11).fill(null),
  );
});

Deno.test("durationText() is what parseDuration() reads back", () => {
  fc.assert(fc.property(fc.nat(999_999_999), (ms) => equal(parseDuration(durationText(ms)), ms)));
  deepEqual([0, 1, 1_000, 90_000, 3_600_000].map(durationText), ["0s", "1ms", "1s", "90s", "1h"]);
});

Deno.test("nameProblem() accepts what the kubelet accepts", () => {
  const good = ["rdma/a", "tencent.com/rdma", "a.b-c.d/X_y.z-9", `rdma/${"x".repeat(63)}`, `${"a.".repeat(121)}b/x`];
  deepEqual(good.map(nameProblem), good.map(() => null));
});

Deno.test("nameProblem() refuses what the kubelet refuses", () => {
  const bad = [
    "rdma",
    "",
    "/a",
    "rdma/",
    "a/b/c",
    "A/b",
    "a_b/c",
    "-a/b",
    "a-/b",
    "a..b/c",
    ".a/b",
    "rdma/-a",
    "rdma/a-",
    "rdma/a b",
  ]
    .concat(["kubernetes.io/a", "x.kubernetes.io/a", "xkubernetes.io/a", "requests.a/b", `rdma/${"x".repeat(64)}`])
    .concat([`${"a.".repeat(122)}bc/x`, `${"a".repeat(64)}/x`, "rdma/ä"]);
  for (const name of bad) ok(nameProblem(name) !== null, name);
});

Deno.test("toPfRange() expands ranges, sorts them and drops repetitions", () => {
  deepEqual(toPfRange("eth1"), { pf: "eth1", vfs: null });
  deepEqual(toPfRange("eth1#9,0-2,1-3"), { pf: "eth1", vfs: [0, 1, 2, 3, 9] });
  deepEqual(toPfRange("0000:3b:00.0#7"), { pf: "0000:3b:00.0", vfs: [7] });
  equal(toPfRange("eth1#0-65535,0-65535").vfs?.length, 65_536);
  throws(() => toPfRange("eth1#2-1"), /backwards/);
});

Deno.test("readPf() counts exactly the VFs that toPfRange() makes", () => {
  const range = fc.tuple(fc.nat(200), fc.nat(20)).map(([first, more]) =>
    more === 0 ? `${first}` : `${first}-${first + more}`
  );
  fc.assert(fc.property(fc.array(range, { minLength: 1, maxLength: 6 }), (ranges) => {
    const text = `eth1#${ranges.join(",")}`;
    const read = readPf(text);
    ok(read.ok);
    const { vfs } = toPfRange(text);
    equal(vfs?.length, "count" in read ? read.count : -1);
    equal(new Set(vfs).size, vfs?.length);
  }));
});

Deno.test("nearest() finds the word that was mistyped", () => {
  const words = ["select", "exclude", "health", "share", "shares", "InfiniBand", "Ethernet"];
  deepEqual(
    ["selcet", "exlude", "healt", "shar", "sharess", "infiniband", "ether", "ETHERNET", "zzz", "", "x".repeat(1e6)]
      .map((typed) => nearest(typed, words)),
    ["select", "exclude", "health", "share", "shares", "InfiniBand", "Ethernet", "Ethernet", null, null, null],
  );
});

Deno.test("pathText() writes paths as people write them", () => {
  equal(pathText(["resources", 0, "env", "extra", "A"]), "resources[0].env.extra.A");
  equal(pathText(["a", "b c", "\n"]), 'a["b c"]["\\n"]');
  equal(pathText([]), "");
});

Deno.test("inOrder() sorts, drops repetitions and stops at a hundred", () => {
  const mistake = (line: number): Mistake => (
    { file: "f", line, column: 1, path: "p", code: "empty", message: "m", hint: null }
  );
  deepEqual(inOrder([mistake(2), mistake(1), mistake(2)]), [mistake(1), mistake(2)]);
  const many = inOrder(Array.from({ length: 150 }, (_, i) => mistake(150 - i)));
  equal(many.length, 101);
  deepEqual(many.slice(-1).map(({ line, path, code }) => [line, path, code]), [[101, "", "not-shown"]]);
});

Deno.test("devicePathProblem() takes paths and the placeholders that are known, and refuses globs and other braces", () => {
  for (const path of ["/dev/hfi1_0", "/dev/{hca}", "/dev/by-pci/{pci}/x", "/dev/{class:ptp}"]) {
    equal(devicePathProblem(path), null, path);
  }
  for (const path of ["/dev/hfi1_*", "/dev/hfi1_?", "/dev/hfi1_[01]", "/dev/{hca}*"]) {
    match(devicePathProblem(path)!, /not expanded; name each device, or write \{hca\}/, path);
  }
  for (const path of ["/dev/{HCA}", "/dev/{netdev}", "/dev/{hca", "/dev/{class:}"]) {
    match(devicePathProblem(path)!, /braces can only contain \{hca\}, \{pci\} and \{class:NAME\}/, path);
  }
  match(mountPathProblem("/opt/*")!, /not expanded/);
  match(mountPathProblem("/opt/{hca}")!, /for devices/);
  equal(mountPathProblem("/opt/ofed"), null);
});

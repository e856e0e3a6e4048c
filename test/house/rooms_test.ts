import { deepEqual, equal } from "@std/assert";
import { dirname } from "node:path";
import { arrows, files, FLOORS, forbidden, roomOf } from "./rooms.ts";

const all = arrows();

Deno.test("no file imports one that it must not: imports run downwards, and src knows no sim", () => {
  const wrong = all.map((arrow) => ({ ...arrow, reason: forbidden(arrow) })).filter(({ reason }) => reason !== null);
  deepEqual(wrong.map(({ from, to, reason }) => `${from} imports ${to}: ${reason}`), []);
});

Deno.test("no two folders import each other, a folder and one inside it apart", () => {
  const seen = new Set(all.map(({ from, to }) => `${dirname(from)} ${dirname(to)}`));
  const mutual = [...seen].filter((pair) => {
    const [a = "", b = ""] = pair.split(" ");
    return a < b && !b.startsWith(`${a}/`) && seen.has(`${b} ${a}`);
  });
  deepEqual(mutual, []);
});

Deno.test("no source file lies outside a room", () => {
  const rooms = [...FLOORS.flat(), "sim", "test", "test/support", "bench", "tools"];
  deepEqual(files().filter((file) => !rooms.includes(roomOf(file))), []);
});

Deno.test("forbidden() knows which way is up", () => {
  const up = (from: string, to: string) => forbidden({ from, to }) !== null;
  equal(up("src/agent/agent.ts", "src/cli/flags.ts"), true);
  equal(up("src/cli/run.ts", "src/agent/agent.ts"), false);
  equal(up("src/doctor/facts.ts", "src/observe/http.ts"), true);
  equal(up("src/pool/select.ts", "sim/host/host.ts"), true);
  equal(up("src/kubelet/api.ts", "src/gen/deviceplugin.ts"), false);
  equal(up("tools/image.ts", "test/faults/wire.ts"), true);
  equal(up("bench/main.ts", "test/support/subject.ts"), false);
  equal(up("test/support/world.ts", "test/e2e/reload_test.ts"), true);
  equal(up("mod.ts", "src/text/log.ts"), false);
  equal(up("src/version.ts", "src/text/log.ts"), false); // the test above finds it: it is in no room
});

/**
 * Faults of connections: half-open ones, and very many, beside a kubelet that is served as before.
 *
 * @module
 */
import { equal, ok } from "@std/assert";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { memoryOf, openFiles } from "../support/process_figures.ts";
import { onHost } from "../support/plugin.ts";
import { FLAG, frame, grpcHeaders, grpcMessage, PREFACE, RawConnection, settings, TYPE } from "../support/raw_http2.ts";
import { within } from "../support/temp.ts";
import { eventually } from "../support/eventually.ts";
import { type Fault } from "./fault.ts";
import {
  endsCleanly,
  filesAsBefore,
  filesAtRest,
  goKubelet,
  HOST,
  quiet,
  registeredWith,
  servesThe,
  SOCKET,
} from "./kubelet_rig.ts";

/** Ways in which a client can stay half-open, by what it has said before it fell silent. */
const HALF_OPEN: readonly (readonly [string, readonly Uint8Array[]])[] = [
  ["nothing", []],
  ["half of the preface", [PREFACE.subarray(0, 12)]],
  ["the preface", [PREFACE]],
  ["half of a frame's head", [PREFACE, settings(), Buffer.from([0, 0, 9, 1])]],
  ["a call without its message", [
    PREFACE,
    settings(),
    frame(TYPE.headers, FLAG.endHeaders, 1, grpcHeaders("/v1beta1.DevicePlugin/Allocate")),
  ]],
  ["half of a message", [
    PREFACE,
    settings(),
    frame(TYPE.headers, FLAG.endHeaders, 1, grpcHeaders("/v1beta1.DevicePlugin/Allocate")),
    frame(TYPE.data, FLAG.none, 1, grpcMessage(Buffer.alloc(1_000)).subarray(0, 100)),
  ]],
];

/** Connects; a full queue (EAGAIN) is waited out. */
async function patiently(path: string): Promise<RawConnection> {
  for (;;) {
    try {
      return await RawConnection.open(path);
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

export const CONNECTIONS: readonly Fault[] = [
  {
    name: "Half-open connections are borne: the kubelet is served beside them, and the plugin still ends in time",
    injected: `Ten connections each that say ${HALF_OPEN.map(([what]) => what).join("; ")} – and then nothing`,
    promise: "Each costs a file descriptor and no more; it is given back when the peer hangs up. SIGTERM cuts them.",
    needs: ["go"],
    async run() {
      await using place = onHost(HOST);
      const go = await goKubelet(place.kubeletDir);
      await using _kubelet = go.kubelet;
      const plugin = await registeredWith(go, place);
      const files = await filesAtRest(plugin.pid);
      const path = join(place.kubeletDir, SOCKET);
      const lines = plugin.log.length;
      const open = async () => {
        const connections: RawConnection[] = [];
        for (const [, words] of HALF_OPEN) {
          for (let i = 0; i < 10; i++) {
            const connection = await RawConnection.open(path);
            connections.push(connection);
            await connection.tell(...words);
          }
        }
        return connections;
      };
      const first = await open();
      await servesThe(go);
      await eventually(() => openFiles(plugin.pid).length >= files.length + 60, "sixty more files");
      equal(first.filter((one) => one.over).length, 0, "nobody was hung up on");
      for (const one of first) one[Symbol.dispose]();
      await filesAsBefore(plugin.pid, files);
      const second = await open();
      await servesThe(go);
      quiet(plugin, 0, lines);
      await endsCleanly(plugin, place.kubeletDir);
      await within(Promise.all(second.map((one) => one.ended)), "the connections' ends");
      for (const one of second) one[Symbol.dispose]();
    },
  },
  {
    name: "1,000 connections at once: the kubelet is answered beside them, and every file descriptor comes back",
    injected: "1,000 connections from one process, 200 of them speaking HTTP/2, all kept open and idle",
    promise: "Allocate is answered as before; memory stays bounded; after they hang up nothing is left of them.",
    needs: ["go"],
    async run() {
      await using place = onHost(HOST);
      const go = await goKubelet(place.kubeletDir);
      await using kubelet = go.kubelet;
      const plugin = await registeredWith(go, place);
      const files = await filesAtRest(plugin.pid);
      const before = memoryOf(plugin.pid).anonymous;
      const path = join(place.kubeletDir, SOCKET);
      const connections = await Promise.all(Array.from({ length: 1_000 }, () => patiently(path)));
      for (const one of connections.slice(0, 200)) one.say(PREFACE, settings());
      await Promise.all(
        connections.slice(0, 200).map((one) => one.next((frame) => frame.type === TYPE.settings, "SETTINGS")),
      );
      await eventually(() => openFiles(plugin.pid).length >= files.length + 1_000, "1,000 more files");
      for (let i = 0; i < 20; i++) await servesThe(go);
      const grown = memoryOf(plugin.pid).anonymous - before;
      ok(grown < 100, `anonymous memory grew by ${grown.toFixed(1)} MiB`);
      equal(connections.filter((one) => one.over).length, 0, "nobody was hung up on");
      for (const one of connections) one[Symbol.dispose]();
      await filesAsBefore(plugin.pid, files);
      await servesThe(go);
      equal(kubelet.events.filter((event) => event.event === "list").length, 1, "the stream was not disturbed");
      ok(existsSync(path));
      quiet(plugin, 4);
      await endsCleanly(plugin, place.kubeletDir);
    },
  },
];

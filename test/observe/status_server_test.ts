import { equal, match, ok } from "@std/assert";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { EventStreams } from "../../src/observe/event_streams.ts";
import { HttpServer, openStream } from "../../src/observe/http.ts";
import { SILENT } from "../../src/text/log.ts";
import { StatusServer, type StatusServerOptions } from "../../src/observe/status_server.ts";
import { within } from "../support/temp.ts";
import { get } from "../support/rig.ts";

function options(port: number, over: Partial<StatusServerOptions> = {}): StatusServerOptions {
  const address = { host: "127.0.0.1", port };
  const about = { node: "n", version: "1", sysfsRoot: "/nonexistent", rescanMs: 0, podResources: null, log: SILENT };
  return { address, ...about, ...over };
}

Deno.test("an address that is taken is said once and tried again until it is free", async () => {
  const first = await StatusServer.start(options(0));
  const port = first.port!;
  const said: string[] = [];
  const free = Promise.withResolvers<void>();
  const log = {
    ...SILENT,
    error: (sentence: string) => said.push(sentence),
    info: (sentence: string) => {
      if (sentence.includes("status page on")) free.resolve();
    },
  };
  const second = await StatusServer.start(options(port, { log, listenAgainMs: 10 }));
  equal(second.port, null);
  await first.close();
  await within(free.promise, "the address is free and got");
  equal((await get(port, "/readyz")).status, 503);
  await second.close();
  equal(said.length, 1);
  match(said[0]!, /^Cannot listen on 127\.0\.0\.1:\d+: .*; metrics, probes and the status page are not available/);
});

Deno.test("an statusServer that waits for its address can be closed", async () => {
  const first = await StatusServer.start(options(0));
  const second = await StatusServer.start(options(first.port!));
  await within(second.close(), "it closes");
  await first.close();
});

Deno.test("everything answers before the agent has started", async () => {
  const alone = await StatusServer.start(options(0));
  const answers = [];
  for (const path of ["/", "/metrics", "/livez", "/state.json"]) answers.push(await get(alone.port!, path));
  const ready = await get(alone.port!, "/readyz");
  await alone.close();
  ok(answers.every(({ status }) => status === 200));
  equal(ready.body, "the first scan of the machine has not finished\n");
});

Deno.test("a page that does not read is cut off, one that reads gets the latest and not a queue", async () => {
  let serial = 0;
  const filler = "x".repeat(256 * 1024);
  const streams = new EventStreams({
    render: () => Promise.resolve(`${serial} ${filler}`),
    onProblem: (sentence) => ok(false, sentence),
    pauseMs: 1,
    beatMs: 50,
  });
  const opened: ServerResponse[] = [];
  const server = await HttpServer.listen({ host: "127.0.0.1", port: 0 }, {
    routes: {
      "/": {
        kind: "stream",
        open: (response) => {
          openStream(response);
          opened.push(response);
          streams.add(response);
          return null;
        },
      },
    },
    onRequest: () => {},
    onProblem: () => {},
  });
  const ask = () => {
    const socket = connect(server.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    socket.on("error", () => socket.destroy());
    return socket;
  };
  const lazy = ask();
  await within(new Promise((resolve) => lazy.once("readable", resolve)), "the lazy one is served");
  const eager = ask();
  let seen = 0;
  eager.on("data", (bytes) => {
    const numbers = String(bytes).matchAll(/data: "(\d+) /g);
    for (const [, number] of numbers) {
      ok(Number(number) >= seen, "an older state after a newer one");
      seen = Number(number);
    }
    // Each one that arrives makes the next: as fast as this reader reads, and never faster.
    serial++;
    streams.changed();
  });
  await within(new Promise<void>((resolve) => opened[0]!.once("close", resolve)), "the lazy one is cut off");
  ok(lazy.bytesRead < 64 * 1024 * 1024);
  equal(streams.size, 1);
  ok(seen > 0);
  eager.destroy();
  lazy.destroy();
  await streams.close();
  await server.close();
});

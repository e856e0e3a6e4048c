import { Client, credentials } from "@grpc/grpc-js";
import { deepEqual, equal } from "@std/assert";
import { once } from "node:events";
import http2 from "node:http2";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { CLIENT_OPTIONS } from "../../src/kubelet/api.ts";
import { FLAG, frame, settings, TYPE } from "../support/raw_http2.ts";
import { temporaryDir, within } from "../support/temp.ts";

/** GOAWAY of a server that received nothing, with NO_ERROR or PROTOCOL_ERROR. */
const goaway = (code: number) => frame(TYPE.goaway, FLAG.none, 0, new Uint8Array([0, 0, 0, 0, 0, 0, 0, code]));

for (const [name, code] of [["NO_ERROR", 0], ["PROTOCOL_ERROR", 1]] as const) {
  Deno.test(`a client's session outlives the read of GOAWAY with ${name}, although grpc-js removes its listeners`, async () => {
    using dir = temporaryDir();
    const path = join(dir.path, "s.sock");
    const server = createServer((connection) => {
      connection.on("error", () => {});
      connection.write(settings());
      connection.once("data", () => connection.write(goaway(code)));
    });
    server.listen(path);
    await once(server, "listening");
    const session = http2.connect("http://localhost", { path } as http2.ClientSessionOptions);
    try {
      const ended: boolean[] = [];
      const read = Promise.withResolvers<void>();
      session.once("remoteSettings", () => {
        session.removeAllListeners();
        session.on("error", () => {});
        session.once("goaway", () => {
          // What grpc-js does with an idle connection; the runtime does one of the two right after.
          session.close();
          ended.push(session.destroyed);
          session.destroy();
          ended.push(session.destroyed);
          session.once("close", () => read.resolve());
        });
      });
      await within(read.promise, "the end of the session");
      deepEqual(ended, [false, false]);
      equal(session.destroyed, true);
    } finally {
      session.destroy();
      server.close();
      await once(server, "close");
    }
  });
}

Deno.test("an idle connection of a gRPC client is not closed within the read of the server's GOAWAY", async () => {
  using dir = temporaryDir();
  const path = join(dir.path, "s.sock");
  const connections: Socket[] = [];
  const server = createServer((connection) => {
    connections.push(connection);
    connection.on("error", () => {});
    connection.resume();
    connection.write(settings());
  });
  server.listen(path);
  await once(server, "listening");
  const sessions: http2.ClientHttp2Session[] = [];
  const { connect } = http2;
  http2.connect = ((...args: Parameters<typeof connect>) => {
    const session = connect(...args);
    sessions.push(session);
    return session;
  }) as typeof connect;
  const client = new Client(`unix:${path}`, credentials.createInsecure(), CLIENT_OPTIONS);
  try {
    await new Promise<void>((resolve, reject) =>
      client.waitForReady(Date.now() + 30_000, (error) => error === undefined ? resolve() : reject(error))
    );
    equal(sessions.length, 1);
    const [session] = sessions;
    const seen = Promise.withResolvers<readonly boolean[]>();
    // After the library's own listener, which has closed it.
    session!.once("goaway", () => seen.resolve([session!.closed, session!.destroyed]));
    const ended = new Promise((resolve) => session!.once("close", resolve));
    connections[0]!.write(goaway(0));
    deepEqual(await within(seen.promise, "the GOAWAY"), [false, false]);
    await within(ended, "the end of the session");
  } finally {
    http2.connect = connect;
    client.close();
    for (const one of connections) one.destroy();
    server.close();
    await once(server, "close");
  }
});

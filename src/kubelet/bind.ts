/**
 * A gRPC server on a unix socket.
 *
 * @module
 */
import { dirname } from "node:path";
import { logVerbosity, type Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";

/** @throws with a sentence when there can be no socket at that path */
export function bind(server: Server, path: string): Promise<void> {
  // The library has a log of its own on standard error, which repeats what is thrown here in no format of ours.
  setLogVerbosity(logVerbosity.NONE);
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) return resolve();
      // "… errors: [listen ENOSPC: no space left on device /dir/.hidden]", whose last word is another one every time.
      const [, reason = error.message] = /\[listen (.*)\]/.exec(error.message) ?? [];
      const words = `Cannot make a socket in ${dirname(path)}: ${reason.replace(` ${path}`, "")}`;
      reject(new Error(words, { cause: error }));
    });
  });
}

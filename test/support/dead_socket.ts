import { once } from "node:events";
import { renameSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";

/** Leaves a socket file at which no one listens, as a process does that is killed. */
export async function deadSocket(path: string): Promise<void> {
  const bound = join(dirname(path), "bound");
  const server = createServer().listen(bound);
  await once(server, "listening");
  renameSync(bound, path);
  await new Promise<void>((resolve) => void server.close(() => resolve()));
}

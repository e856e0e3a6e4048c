import { deepEqual } from "@std/assert";
import { readdirSync } from "node:fs";
import { OVERLAYS, OVERLAYS_DIR } from "./overlays.ts";
import { SITUATIONS } from "./situations.ts";

Deno.test("every overlay that is shipped is played on the cluster", () => {
  deepEqual(Object.keys(OVERLAYS).toSorted(), readdirSync(OVERLAYS_DIR).toSorted());
  deepEqual(Object.values(OVERLAYS).filter((one) => !SITUATIONS.includes(one)), []);
});

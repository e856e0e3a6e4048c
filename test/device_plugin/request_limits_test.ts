import { equal, throws } from "@std/assert";
import { Buffer } from "node:buffer";
import { protoCodec } from "../../src/device_plugin/codec.ts";
import { checkContainers, MOST_CONTAINERS } from "../../src/device_plugin/request_limits.ts";
import { RequestError } from "../../src/device_plugin/source.ts";

/** One container request for "mlx5_0". */
const CONTAINER = Buffer.from("0a080a066d6c78355f30", "hex");
const refused = (error: unknown) => error instanceof RequestError && error.code === "RESOURCE_EXHAUSTED";

Deno.test("checkContainers() lets as many container requests pass as it says, and not one more", () => {
  const most = Buffer.concat(Array.from({ length: MOST_CONTAINERS }, () => CONTAINER));
  equal(checkContainers(most), most);
  equal(protoCodec().allocateRequest(most).container_requests.length, MOST_CONTAINERS);
  throws(() => checkContainers(Buffer.concat([most, CONTAINER])), refused);
  throws(() => checkContainers(Buffer.from("0a00".repeat(2 * MOST_CONTAINERS), "hex")), refused);
});

Deno.test("checkContainers() counts past fields that it does not know, and tells an ID from a container", () => {
  const unknown = Buffer.from("10ff01" + "1903030303030303" + "03" + "2503030303" + "320102", "hex");
  equal(checkContainers(unknown), unknown);
  throws(() => checkContainers(Buffer.concat([unknown, ...Array.from({ length: 257 }, () => CONTAINER)])), refused);
  const ids = Buffer.from("0a8420" + "0a0161".repeat(1_366) + "0a00", "hex");
  equal(checkContainers(ids), ids);
});

Deno.test("checkContainers() leaves bytes that are no message to the decoder", () => {
  for (const bytes of ["", "0a", "0aff", "0b", "0c", "0f", "0a05", "ff".repeat(40)]) {
    const torn = Buffer.from(bytes, "hex");
    equal(checkContainers(torn), torn);
  }
});

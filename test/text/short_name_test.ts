import { equal, match, notEqual } from "@std/assert";
import { shortName } from "../../src/text/short_name.ts";

Deno.test("shortName() keeps what fits, and tells long names apart that differ in their last character", () => {
  equal(shortName("tencent.com_rdma", 16), "tencent.com_rdma");
  const [one, other] = ["a", "b"].map((end) => shortName(`tencent.com_rdma${end}`, 16));
  match(one!, /^ten-[0-9a-f]{12}$/);
  equal(one, shortName("tencent.com_rdmaa", 16));
  notEqual(one, other);
});

import { deepEqual, equal } from "@std/assert";
import { count, quantity } from "../../src/kubernetes/quantity.ts";
import { canonical } from "../../sim/api_server/slices.ts";

Deno.test("count() reads quantities as the API server writes them", () => {
  deepEqual(["8", "1k", "2Ki", "0", "", "x", "1.5k", "1e3", undefined].map(count), [
    8,
    1e3,
    2048,
    0,
    0,
    0,
    1500,
    1e3,
    0,
  ]);
});

Deno.test("quantity() writes numbers as the API server does", () => {
  deepEqual([0, 1, 999, 1_000, 1_500, 10_000, 100_000, 1e6, 400e9, 2_000e9, 1_200e9].map(quantity), [
    "0",
    "1",
    "999",
    "1k",
    "1500",
    "10k",
    "100k",
    "1M",
    "400G",
    "2T",
    "1200G",
  ]);
  for (let n = 1; n < 3e6; n += 997) {
    equal(canonical(quantity(n)), quantity(n));
    equal(count(quantity(n)), n);
  }
});

import { deepEqual, equal } from "@std/assert";
import fc from "fast-check";
import { natural } from "../../src/text/natural.ts";

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "variant" });
/** The order without the short way for numbers at the end. */
const slowly = (a: string, b: string) => collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);

Deno.test("natural() puts mlx5_2 before mlx5_10, also where names have more numbers than one", () => {
  const names = [
    "mlx5_10",
    "mlx5_2",
    "mlx5_1",
    "mlx5_01",
    "rxe0",
    "ib0",
    "mlx5_bond_0",
    "mlx5_0",
    "0000:3b:00.10",
    "0000:3b:00.2",
  ];
  deepEqual(names.toSorted(natural), names.toSorted(slowly));
  deepEqual(["mlx5_10", "mlx5_2"].sort(natural), ["mlx5_2", "mlx5_10"]);
});

Deno.test("natural() has the collator's order, whichever way it takes", () => {
  const part = fc.constantFrom(
    "mlx5_",
    "mlx",
    "5",
    "_",
    "0",
    "00",
    "10",
    "9",
    "007",
    ".",
    ":",
    "a",
    "A",
    "é",
    " ",
    "2a",
    "umad",
    "issm",
    "\u0301",
  );
  const name = fc.array(part, { maxLength: 6 }).map((parts) => parts.join(""));
  fc.assert(fc.property(name, name, (a, b) => equal(Math.sign(natural(a, b)), Math.sign(slowly(a, b)), `${a} ${b}`)));
});

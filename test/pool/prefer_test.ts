import { deepEqual, equal, ok } from "@std/assert";
import fc from "fast-check";
import { choose, type Place, prefer, price } from "../../src/pool/prefer.ts";
import type { Prefer } from "../../src/pool/spec.ts";
import { hca, pci, poolState, spec } from "../support/hcas.ts";

const POLICIES: readonly Prefer[] = ["pack", "spread", "least-used"];
const LEVELS = ["numa", "root", "pf", "hca"] as const;

/** What a set of places costs, by the definition: the sum over every node of the tree that is used. */
function total(policy: Prefer, places: readonly Place[]): number {
  let sum = 0;
  for (const [depth, level] of LEVELS.entries()) {
    const knots = new Map<string, Place[]>();
    for (const one of places) {
      const path = LEVELS.slice(0, depth + 1).map((name) => one[name]).join("|");
      knots.set(path, [...knots.get(path) ?? [], one]);
    }
    for (const node of knots.values()) sum += price(policy, level, node.length, node[0]!.used);
  }
  return sum;
}

function subsets(places: readonly Place[], size: number): Place[][] {
  if (size === 0) return [[]];
  return places.flatMap((one, i) => subsets(places.slice(i + 1), size - 1).map((rest) => [one, ...rest]));
}

const somePlaces = fc.array(
  fc.record({ numa: fc.nat(1), root: fc.nat(1), pf: fc.nat(1), hca: fc.nat(1), used: fc.nat(3) }),
  { minLength: 1, maxLength: 8 },
).map((raw) => {
  const used = new Map<string, number>();
  return raw.map((one, i): Place => {
    const path = [one.numa, one.root, one.pf, one.hca].join(".");
    if (!used.has(path)) used.set(path, one.used);
    return {
      id: `d${i}`,
      numa: `n${one.numa}`,
      root: `n${one.numa}r${one.root}`,
      pf: `n${one.numa}r${one.root}p${one.pf}`,
      hca: path,
      used: used.get(path)!,
    };
  });
});

Deno.test("choose() is as cheap as the best of all subsets, for every policy and size", () => {
  fc.assert(
    fc.property(
      somePlaces,
      fc.constantFrom(...POLICIES),
      fc.nat(8),
      fc.nat(8),
      (places, policy, wantedMust, wantedSize) => {
        const must = Math.min(wantedMust, places.length);
        const size = Math.max(must, Math.min(wantedSize, places.length));
        const ids = choose(policy, places, must, size);
        const chosen = places.filter((one) => ids.includes(one.id));
        equal(ids.length, size);
        equal(chosen.length, size);
        for (const one of places.slice(0, must)) ok(ids.includes(one.id), `${one.id} must be included`);
        const best = Math.min(
          ...subsets(places.slice(must), size - must).map((rest) => total(policy, [...places.slice(0, must), ...rest])),
        );
        equal(total(policy, chosen), best);
      },
    ),
    { numRuns: 300 },
  );
});

const rails = [0, 1, 2, 3].map((n) =>
  hca(n, { pci: pci(`0000:${n}a:00.0`, { numaNode: n < 2 ? 0 : 1, path: [`pci0000:${n}0`] }) })
);
const all = rails.map((one) => one.name);

Deno.test("prefer() packs onto one NUMA node and spreads over PCIe roots", () => {
  const ask = (policy: Prefer, mustInclude: string[], size: number) =>
    prefer(poolState(spec({ prefer: policy }), rails), { available: all, mustInclude, size });
  deepEqual(ask("pack", [], 2), ["mlx5_0", "mlx5_1"]);
  deepEqual(ask("pack", ["mlx5_2"], 2), ["mlx5_2", "mlx5_3"]);
  deepEqual(ask("spread", [], 4), all);
  const vfs = [0, 1, 2, 3].map((n) =>
    hca(n, { kind: "vf", pci: pci(`0000:3b:00.${n + 2}`, { physfn: n < 2 ? "0000:3b:00.0" : "0000:3b:00.1" }) })
  );
  deepEqual(prefer(poolState(spec({ prefer: "spread" }), vfs), { available: all, mustInclude: [], size: 2 }), [
    "mlx5_0",
    "mlx5_2",
  ]);
});

Deno.test("prefer() answers every size from none to all, and more than there are", () => {
  const one = poolState(spec(), rails);
  for (let size = 0; size <= 6; size++) {
    equal(prefer(one, { available: all, mustInclude: [], size }).length, Math.min(size, 4), `size ${size}`);
  }
  deepEqual(prefer(one, { available: all, mustInclude: ["mlx5_3"], size: 0 }), ["mlx5_3"]);
  deepEqual(prefer(one, { available: ["x", "y"], mustInclude: [], size: 1 }), ["x"]);
});

Deno.test("prefer() spreads shares over the HCAs that are used least", () => {
  const shared = poolState(
    spec({ mode: { kind: "shared", shares: 3, of: "one" }, prefer: "least-used" }),
    rails.slice(0, 2),
  );
  // two of mlx5_0's three shares are in use
  const available = ["mlx5_0::2", "mlx5_1::0", "mlx5_1::1", "mlx5_1::2"];
  deepEqual(prefer(shared, { available, mustInclude: [], size: 1 }), ["mlx5_1::0"]);
  deepEqual(prefer(shared, { available, mustInclude: [], size: 2 }), ["mlx5_1::0", "mlx5_1::1"]);
  deepEqual(prefer(shared, { available, mustInclude: [], size: 3 }), ["mlx5_0::2", "mlx5_1::0", "mlx5_1::1"]);
});

Deno.test("prefer() gives the same answer whatever the order of the question", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: 2 }), fc.constantFrom(...POLICIES), (available, policy) => {
      const one = poolState(spec({ prefer: policy }), rails);
      const size = Math.ceil(available.length / 2);
      const sorted = [...available].sort();
      deepEqual(
        prefer(one, { available, mustInclude: [], size }),
        prefer(one, { available: sorted, mustInclude: [], size }),
      );
    }),
  );
});

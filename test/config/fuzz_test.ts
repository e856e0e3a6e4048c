import { ok } from "@std/assert";
import * as fc from "fast-check";
import { checkCandidate, mutatedConfigs } from "../support/mutated_config.ts";

Deno.test("parseConfig() answers every mutated config with a sound one or with mistakes for people", () => {
  let accepted = 0;
  let refused = 0;
  fc.assert(
    fc.property(mutatedConfigs(), (candidate) => {
      if (checkCandidate(candidate)) accepted++;
      else refused++;
    }),
    { numRuns: 1_500 },
  );
  // Both kinds have to be there, or the mutations test nothing.
  ok(accepted > 50 && refused > 500, `${accepted} accepted, ${refused} refused`);
});

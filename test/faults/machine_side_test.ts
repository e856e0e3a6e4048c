import { testFaults } from "./fault.ts";
import { LIMITS } from "./limits.ts";
import { STORAGE } from "./storage.ts";
import { TIME } from "./time.ts";
import { REQUESTS } from "./requests.ts";
import { WIRE } from "./wire.ts";

testFaults(WIRE);
testFaults(REQUESTS);
testFaults(STORAGE);
testFaults(LIMITS);
testFaults(TIME);

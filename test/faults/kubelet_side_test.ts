import { CONNECTIONS } from "./connections.ts";
import { DIRECTORY } from "./directory.ts";
import { testFaults } from "./fault.ts";
import { KUBELET } from "./kubelet.ts";
import { ROLLING } from "./rolling.ts";
import { STARTUP } from "./startup.ts";

testFaults([...STARTUP, ...KUBELET, ...CONNECTIONS, ...ROLLING, ...DIRECTORY]);

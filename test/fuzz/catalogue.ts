/** Every fuzz target, in the order in which they run. */
import { checkpoint } from "./targets/checkpoint.ts";
import { config } from "./targets/config.ts";
import { flags } from "./targets/flags.ts";
import { grpc } from "./targets/grpc.ts";
import { netlink } from "./targets/netlink.ts";
import { machines, sysfs } from "./targets/sysfs.ts";
import type { Target } from "./target.ts";

export const TARGETS: readonly Target[] = [sysfs, machines, flags, netlink, grpc, checkpoint, config];

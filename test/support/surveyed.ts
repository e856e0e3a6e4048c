/**
 * A survey of a fake host, and facts for the doctor that do not depend on the machine which runs the test.
 *
 * @module
 */
import { Discovery } from "../../src/hca/discover.ts";
import { readNetnsMode } from "../../src/hca/netns_mode.ts";
import type { VerbsAnswer } from "../../src/hca/types.ts";
import { noVerbs } from "../../src/hca/verbs.ts";
import type { Survey } from "../../src/cli/survey.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import { track } from "../../src/resource/ledger.ts";
import { select } from "../../src/resource/select.ts";
import { DEFAULT_SPEC, type ResourceSpec } from "../../src/resource/spec.ts";
import { FakeHost, type HostDescription, preset } from "../../sim/mod.ts";

/** Surveys a fake host after `change` has been done to it. libibverbs agrees with sysfs unless told. */
export async function surveyed(
  host: string | HostDescription,
  specs: readonly ResourceSpec[] = [DEFAULT_SPEC],
  change: (host: FakeHost) => Promise<void> = () => Promise.resolve(),
): Promise<Survey> {
  const fake = FakeHost.create(FakeHost.temporaryRoot(), typeof host === "string" ? preset(host) : host);
  try {
    await change(fake);
    const devices = fake.describe().filter((one) => one.uverbsNode !== null)
      .map((one) => ({ name: one.name, uverbs: one.uverbs!, guid: one.nodeGuid, nodeType: 1 }));
    const verbs: VerbsAnswer = devices.length > 0 ? { kind: "list", devices } : { kind: "empty" };
    const discovery = new Discovery({
      roots: { sysfs: fake.sysfsRoot, dev: fake.devRoot },
      verbs: noVerbs(verbs),
      netnsMode: () => readNetnsMode(fake.sysfsRoot, { fake: true }),
    });
    const snapshot = await discovery.look("full");
    const selection = select(specs, snapshot);
    return { snapshot, specs, leftOut: selection.leftOut, ledger: track(new Map(), selection, new Map(), 0).ledger };
  } finally {
    fake.close();
  }
}

const PROVIDERS = ["mlx5", "bnxt_re", "irdma", "efa", "rxe"].map((name) => `lib${name}-rdmav34.so`);

/** Facts of a node on which all is well but for what the survey and `over` say. */
export function facts(survey: Survey, over: Partial<Facts> = {}): Facts {
  return {
    survey,
    modules: ["ib_core", "ib_uverbs", "ib_umad", "rdma_ucm"],
    sysfsRoot: "/sys",
    devRoot: "/dev",
    devDirectory: true,
    providers: PROVIDERS,
    kubelet: { dir: "/var/lib/kubelet/device-plugins", state: "writable", socket: "answers" },
    longPaths: [],
    takenNames: [],
    memlock: Infinity,
    selinux: null,
    cdi: { dir: "/var/run/cdi", state: "writable" },
    inotifyInstances: 128,
    ...over,
  };
}

/**
 * A fake host and a fake kubelet for testing device plugins that offer RDMA adapters: a sysfs and /dev tree on disk
 * that changes at run time, and a device manager that behaves like the kubelet's.
 *
 * @module
 */
export { FakeHost } from "./host/host.ts";
export { manyHcas, preset, type PresetName, PRESETS } from "./host/presets.ts";
export type * from "./host/types.ts";
export {
  AdmissionError,
  type AdmittedPod,
  FakeKubelet,
  type FakeKubeletOptions,
  type KubeletState,
} from "./kubelet/kubelet.ts";
export { commandLine, pluginCommand, pluginFlags, PluginProcess, startPlugin } from "./story/plugin_process.ts";
export { play, type Played } from "./story/play.ts";
export { builtIn, loadScenario, type Scenario, type Step } from "./story/scenario.ts";
export { Stage } from "./story/stage.ts";

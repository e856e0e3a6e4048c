/**
 * A fake host and a fake kubelet for device plugins that offer RDMA adapters: a sysfs and /dev tree on disk that
 * changes while it runs, and a device manager that behaves as the kubelet's does.
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
export { commandLine, pluginFlags, PluginProcess } from "./story/plugin_process.ts";
export { play, type Played } from "./story/play.ts";
export { builtIn, loadScenario, type Scenario, type Step } from "./story/scenario.ts";
export { Stage } from "./story/stage.ts";

/**
 * Config files: the plugin's own format, and unmodified files of the shared RDMA device plugin and of the SR-IOV
 * network device plugin.
 *
 * Importing this module loads zod and yaml, several MiB. Import it only when there is a config file to read.
 *
 * @module
 */
export { loadConfig } from "./load.ts";
export { formatMistakes, type Mistake } from "./mistakes.ts";
export { type Config, type ConfigOptions, type ConfigResult, type Format, parseConfig } from "./parse.ts";

/**
 * Config files: our own format and, unmodified, those of the shared RDMA device plugin and of the SR-IOV network device
 * plugin.
 *
 * Importing this module loads zod and yaml, several MiB: import it when there is a config file to read, not before.
 *
 * @module
 */
export { loadConfig } from "./load.ts";
export { formatMistakes, type Mistake } from "./mistakes.ts";
export { type Config, type ConfigOptions, type ConfigResult, type Format, parseConfig } from "./parse.ts";

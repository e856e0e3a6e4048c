/** The version of the plugin, the same as in deno.json (a test compares). */
export const VERSION = "0.1.0";

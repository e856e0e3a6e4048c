/** The version of the plugin, equal to that in deno.json (a test compares). */
export const VERSION = "0.1.0";

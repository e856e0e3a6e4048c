/**
 * Patterns of names, as people type them: "gpu-*,login-1".
 *
 * @module
 */

/** Whether a name is one of a list that is separated by commas; `*` stands for any text. */
export function matcher(list: string): (name: string) => boolean {
  const patterns = list.split(",").map((one) => one.trim()).filter((one) => one !== "");
  const plain = new Set(patterns.filter((one) => !one.includes("*")));
  const wild = patterns.filter((one) => one.includes("*")).map((one) =>
    new RegExp(`^${one.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&")).join(".*")}$`)
  );
  return (name) => plain.has(name) || wild.some((one) => one.test(name));
}

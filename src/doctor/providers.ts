/**
 * libibverbs' provider libraries as files: whether one is installed and configured. {@link file://../hca/drivers.ts}
 * lists the provider of each driver.
 *
 * @module
 */

/** Whether the files contain this provider, with any library ABI suffix ("libmlx5-rdmav34.so"). */
export function hasProvider(files: readonly string[], name: string): boolean {
  return files.some((file) => file.startsWith(`lib${name}-rdmav`) && file.endsWith(".so"));
}

/** Whether /etc/libibverbs.d makes libibverbs load the provider: "mlx5.driver". */
export function isConfigured(files: readonly string[], name: string): boolean {
  return files.includes(`${name}.driver`);
}

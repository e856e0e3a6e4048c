/**
 * libibverbs' provider libraries as files: is one there, and is libibverbs told to load it. Which HCA needs which is in
 * {@link file://../hca/drivers.ts}.
 *
 * @module
 */

/** Whether the directory's files hold this provider, whatever its library ABI suffix ("libmlx5-rdmav34.so"). */
export function hasProvider(files: readonly string[], name: string): boolean {
  return files.some((file) => file.startsWith(`lib${name}-rdmav`) && file.endsWith(".so"));
}

/** Whether /etc/libibverbs.d makes libibverbs load it: "mlx5.driver". */
export function isConfigured(files: readonly string[], name: string): boolean {
  return files.includes(`${name}.driver`);
}

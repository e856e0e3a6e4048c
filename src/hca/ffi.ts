/**
 * Loads libc through FFI, under the names of glibc and musl.
 *
 * @module
 */

/** Whether this runtime can call C; Node.js cannot. */
export function hasFfi(): boolean {
  return typeof globalThis.Deno?.dlopen === "function";
}

/**
 * Opens the C library of this process.
 * @throws {Error} when the runtime has no FFI, FFI is not permitted, or libc is not found
 */
export function loadLibc<S extends Deno.ForeignLibraryInterface>(symbols: S): Deno.DynamicLibrary<S> {
  if (!hasFfi()) throw new Error("Cannot call libc: this runtime has no FFI (Deno.dlopen); run under Deno for netlink");
  const tried: string[] = [];
  // The soname of glibc, then the name used by musl.
  for (const name of ["libc.so.6", "libc.so"]) {
    try {
      return Deno.dlopen(name, symbols);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.PermissionDenied) {
        throw new Error("Cannot call libc: FFI is not permitted; run with --allow-ffi", { cause: error });
      }
      tried.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`Cannot call libc: ${tried.join("; ")}`);
}

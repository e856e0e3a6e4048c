/**
 * Loading C libraries: the one place that knows under which names libc is found.
 *
 * @module
 */

/** Whether this runtime can call C at all; Node.js cannot. */
export function hasFfi(): boolean {
  return typeof globalThis.Deno?.dlopen === "function";
}

/**
 * Opens the C library of this process.
 * @throws {Error} with a sentence when the runtime has no FFI, may not use it, or finds no libc
 */
export function loadLibc<S extends Deno.ForeignLibraryInterface>(symbols: S): Deno.DynamicLibrary<S> {
  if (!hasFfi()) throw new Error("Cannot call libc: this runtime has no FFI (Deno.dlopen); run under Deno for netlink");
  const tried: string[] = [];
  // glibc's soname, then the name under which musl is found
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

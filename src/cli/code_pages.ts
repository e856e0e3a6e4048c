/**
 * Gives back the pages of the runtime's own file that only a start needs: two thirds of 40 MiB, never touched again.
 *
 * @module
 */
import { C } from "../hca/abi.ts";
import { hasFfi, loadLibc } from "../hca/ffi.ts";

/** `Elf64_Phdr` of `<elf.h>`: where its fields are, in bytes. */
const P_TYPE = 0;
const P_FLAGS = 4;
const P_VADDR = 16;
const P_MEMSZ = 40;
/** The largest page of the architectures that there are images for; a multiple of the others. */
const PAGE = 65_536n;

const SYMBOLS = {
  getauxval: { parameters: ["u64" /* unsigned long type */], result: "u64" },
  madvise: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t length
      "i32", // int advice
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Unmaps code and constants of the runtime until they are used again. They stay in the page cache, from where a page
 * comes back in a microsecond, but count no longer as this process' memory, and the kernel may drop them when it runs
 * short. Only segments that cannot be written to are unmapped: their pages are those of the file.
 *
 * Does nothing where FFI is not permitted.
 */
export function releaseCodePages(): void {
  if (!hasFfi()) return;
  try {
    const libc = loadLibc(SYMBOLS);
    for (const { from, to } of readOnlySegments(libc.symbols.getauxval)) {
      if (to > from) libc.symbols.madvise(Deno.UnsafePointer.create(from), to - from, C.MADV_DONTNEED);
    }
    libc.close();
  } catch {
    // No FFI permitted, or a libc without these functions: nothing to be gained.
  }
}

interface Segment {
  readonly from: bigint;
  readonly to: bigint;
}

/** Whole pages of the program's segments that are not writable, as addresses in this process. */
function readOnlySegments(auxiliary: (key: bigint) => bigint): readonly Segment[] {
  const headers = auxiliary(BigInt(C.AT_PHDR));
  const pointer = Deno.UnsafePointer.create(headers);
  if (pointer === null) return [];
  const view = new Deno.UnsafePointerView(pointer);
  const size = Number(auxiliary(BigInt(C.AT_PHENT)));
  const offsets = Array.from({ length: Number(auxiliary(BigInt(C.AT_PHNUM))) }, (_, i) => i * size);
  const ofHeaders = offsets.find((at) => view.getUint32(at + P_TYPE) === C.PT_PHDR);
  // Without that header it is not known where the program was loaded.
  if (ofHeaders === undefined) return [];
  const base = headers - view.getBigUint64(ofHeaders + P_VADDR);
  return offsets
    .filter((at) => view.getUint32(at + P_TYPE) === C.PT_LOAD && (view.getUint32(at + P_FLAGS) & C.PF_W) === 0)
    .map((at) => {
      const start = base + view.getBigUint64(at + P_VADDR);
      const end = start + view.getBigUint64(at + P_MEMSZ);
      return { from: (start + PAGE - 1n) / PAGE * PAGE, to: end / PAGE * PAGE };
    });
}

/**
 * A clock that can be set for one plugin alone: a small library, put before the C library of that process, adds so many
 * seconds to the time of day. The monotonic clock goes on as it does when an operator or NTP sets the clock of a node.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileLibrary, preloaded } from "../support/c_library.ts";

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *shift;

__attribute__((constructor)) static void attach(void) {
  static const long long none;
  const char *path = getenv("FAULT_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *file = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
  shift = file == MAP_FAILED ? &none : file;
  if (fd >= 0) close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
`;

/** The time of day of the processes that were started with it. */
export interface Clock {
  /** The words before the command of such a process. */
  readonly wrapper: readonly string[];
  /** Sets it to so many seconds after (or before) the machine's own, at once. */
  set(seconds: number): void;
}

/** Compiles the library in a directory of the test's own. */
export function settableClock(dir: string): Clock {
  const file = join(dir, "clock.shift");
  // In place: the process has this very file in its memory.
  const set = (seconds: number) => writeFileSync(file, new BigInt64Array([BigInt(seconds)]), { flag: "r+" });
  writeFileSync(file, new BigInt64Array([0n]));
  return { wrapper: preloaded(compileLibrary(dir, "clock", SOURCE), { FAULT_CLOCK: file }), set };
}

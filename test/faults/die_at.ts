/**
 * Kills a plugin at a system call: a small library, put before the C library of that one process, which ends it with
 * SIGKILL before or after the first call of that name on a path in the kubelet's directory. So every step of start-up
 * is met for certain, not by luck.
 *
 * @module
 */
import { compileLibrary, preloaded } from "../support/c_library.ts";

/** What is done at the step. */
export type Deed =
  /** SIGKILL. */
  | "die"
  /** The file that the call is about is removed, as a kubelet does that starts at this moment. */
  | "wipe";

/** A step of start-up, by the system call that makes it. */
export interface Step {
  readonly when: "before" | "after";
  readonly call: "bind" | "listen" | "chmod" | "rename" | "connect";
  /** What the path of the call contains. */
  readonly path: string;
  readonly deed: Deed;
}

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int done;

static void step(const char *when, const char *call, const char *path) {
  const char *at = getenv("FAULT_AT"), *needle = getenv("FAULT_PATH"), *deed = getenv("FAULT_DEED");
  char here[32];
  snprintf(here, sizeof here, "%s %s", when, call);
  if (!at || !needle || !deed || done || strcmp(at, here) || !strstr(path, needle)) return;
  done = 1;
  if (!strcmp(deed, "wipe")) unlink(path);
  else kill(getpid(), SIGKILL), pause();
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define AROUND(name, path, ...) \\
  REAL(name); step("before", #name, path); int result = real(__VA_ARGS__); step("after", #name, path); return result

static const char *path_of(const struct sockaddr *address, socklen_t length, char *out) {
  out[0] = 0;
  if (address->sa_family == AF_UNIX && length > sizeof(sa_family_t))
    snprintf(out, 109, "%.108s", ((const struct sockaddr_un *)address)->sun_path);
  return out;
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  char path[109];
  AROUND(bind, path_of(address, length, path), fd, address, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  char path[109];
  AROUND(connect, path_of(address, length, path), fd, address, length);
}

int listen(int fd, int backlog) {
  char path[109];
  struct sockaddr_un address = {0};
  socklen_t length = sizeof address;
  getsockname(fd, (struct sockaddr *)&address, &length);
  AROUND(listen, path_of((struct sockaddr *)&address, length, path), fd, backlog);
}

int chmod(const char *path, mode_t mode) { AROUND(chmod, path, path, mode); }
int rename(const char *from, const char *to) { AROUND(rename, from, from, to); }
`;

/** The words before a plugin's command that make it meet its end at that step; `dir` is the test's own. */
export function dieAt(dir: string, { when, call, path, deed }: Step): readonly string[] {
  const env = { FAULT_AT: `${when} ${call}`, FAULT_PATH: path, FAULT_DEED: deed };
  return preloaded(compileLibrary(dir, "die_at", SOURCE), env);
}

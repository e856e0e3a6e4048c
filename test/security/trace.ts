/**
 * A process' system calls, as strace writes them: which files it opened and how, what it changed, which sockets it has.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

/** One system call that has returned. */
export interface Call {
  readonly name: string;
  /** As strace prints them, strings whole and file descriptors with their paths. */
  readonly args: string;
  readonly failed: boolean;
}

/** The words before the command; strace is not the parent, so the process is the test's own child. */
export function traced(prefix: string): readonly string[] {
  // A file for each thread: calls of several threads are not torn apart.
  return [
    "strace",
    "-D",
    "-ff",
    "-y",
    "-qq",
    "-s",
    "4096",
    "-o",
    prefix,
    "-e",
    "trace=%file,%process,%network,fchmod,fchown",
  ];
}

/** Every call of every thread. */
export function callsOf(prefix: string): readonly Call[] {
  const names = readdirSync(dirname(prefix)).filter((name) => name.startsWith(`${basename(prefix)}.`));
  return names.flatMap((name) =>
    readFileSync(join(dirname(prefix), name), "utf8").split("\n").flatMap((line) => {
      const [, call, args, result] = /^(\w+)\((.*)\)\s+= (\S+)/.exec(line) ?? [];
      return call === undefined ? [] : [{ name: call, args: args!, failed: result!.startsWith("-1") }];
    })
  );
}

/** Calls that open a file: its path, and whether for writing or as a directory. Failed ones, too: the attempt counts. */
export function opened(calls: readonly Call[]): readonly { path: string; writing: boolean; listing: boolean }[] {
  return calls.filter(({ name }) => /^(open|openat|openat2|creat)$/.test(name)).map(({ name, args }) => ({
    path: pathIn(args),
    writing: name === "creat" || /O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND/.test(args),
    listing: args.includes("O_DIRECTORY"),
  }));
}

/** Paths that were made, removed, renamed or given other rights. */
export function changed(calls: readonly Call[]): readonly string[] {
  const changing =
    /^(mkdir|rmdir|unlink|rename|link|symlink|mknod|chmod|fchmod|chown|lchown|fchown|truncate|utime|utimes|utimensat|setxattr|mount|umount2?)(at2?)?$/;
  return calls.filter(({ name, failed }) => changing.test(name) && !failed)
    .flatMap(({ name, args }) => {
      const paths = /^f(chmod|chown)$/.test(name) ? /^\d+<([^>]*)>/g : /"([^"]*)"/g;
      return [...args.matchAll(paths)].map(([, path]) => path!);
    });
}

/** "unix /path", "inet 127.0.0.1:80", … of the calls of that name. */
export function addresses(calls: readonly Call[], name: "bind" | "connect"): readonly string[] {
  return calls.filter((call) => call.name === name).map(({ args }) => {
    const [, family = ""] = /sa_family=AF_(\w+)/.exec(args) ?? [];
    const [, path] = /sun_path="([^"]*)"/.exec(args) ?? [];
    const [, port] = /sin6?_port=htons\((\d+)\)/.exec(args) ?? [];
    const [, host] = /(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]*)"/.exec(args) ?? [];
    return `${family.toLowerCase()} ${path ?? (port === undefined ? "" : `${host}:${port}`)}`.trim();
  });
}

/** The first path among the arguments; a relative one is below the directory that `-y` prints before it. */
function pathIn(args: string): string {
  const [, dir = "/", path = ""] = /^(?:[^"<]*<([^>]*)>[^"]*)?"([^"]*)"/.exec(args) ?? [];
  return resolve(dir, path);
}

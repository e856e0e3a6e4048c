/**
 * The node's programs, containerd and the kubelet, and what happens to them: restarts, crashes, a reboot.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";
import { eventually } from "../eventually.ts";
import { killAndRemoveCgroup, processesIn } from "./cgroups.ts";
import { configPaths, type KubeletSettings, NODE_NAME, writeKubeletConfig } from "./config_files.ts";
import type { Programs } from "./programs.ts";
import { type Daemon, type Space, tail } from "./space.ts";

/** The cgroup that containerd makes containers in, below the node's. */
const CONTAINERS = "k8s.io";
const SOCKET = "/run/containerd/containerd.sock";

export class ClusterNode {
  #kubelet: Daemon | null = null;
  #containerd: Daemon | null = null;

  constructor(
    readonly space: Space,
    readonly programs: Programs,
    readonly cgroup: string,
    readonly featureGates: Readonly<Record<string, boolean>>,
  ) {}

  /** Starts containerd and waits until it answers. */
  async startContainerd(): Promise<void> {
    const { containerdDir } = this.programs;
    this.#containerd = await this.space.start(
      "containerd",
      [`${containerdDir}/containerd`, `--config=${configPaths(this.space.dir).containerd}`],
      { PATH: `${containerdDir}:${process.env.PATH}:/usr/sbin:/sbin` },
    );
    await this.#until("containerd", () => {
      const version = [`${containerdDir}/ctr`, `--address=${SOCKET}`, "--connect-timeout=1s", "version"];
      return this.space.run(version, { tolerant: true }).includes("Server:");
    });
  }

  /** Starts the kubelet and waits until it says that it is well. */
  async startKubelet(settings: KubeletSettings = {}): Promise<void> {
    const paths = configPaths(this.space.dir);
    writeKubeletConfig(this.space.dir, { healthzBindAddress: "0.0.0.0", ...settings }, this.featureGates);
    this.#kubelet = await this.space.start("kubelet", [
      this.programs.kubelet,
      `--config=${paths.kubelet}`,
      `--kubeconfig=${paths.nodeKubeconfig}`,
      `--hostname-override=${NODE_NAME}`,
      `--node-ip=${this.space.place.address}`,
      "--v=2",
    ], { PATH: `${process.env.PATH}:/usr/sbin:/sbin` });
    await this.#until("kubelet", async () => {
      try {
        return (await (await fetch(`http://${this.space.place.address}:10248/healthz`)).text()) === "ok";
      } catch {
        return false;
      }
    });
  }

  /** Ends the kubelet; pods go on. */
  async stopKubelet(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    await stop(this.#kubelet, signal);
    this.#kubelet = null;
  }

  /** Ends containerd and starts it again; its shims keep the containers. */
  async restartContainerd(): Promise<void> {
    await stop(this.#containerd, "SIGTERM");
    await this.startContainerd();
  }

  /**
   * What a node's disk survives: every process of the node is gone at once, and so are /run, the pods' networks and
   * their cgroups. The control plane goes on, as on another machine.
   */
  async powerOff(): Promise<void> {
    await stop(this.#kubelet, "SIGKILL");
    await stop(this.#containerd, "SIGKILL");
    for (const pid of this.#shims()) process.kill(pid, "SIGKILL");
    await killAndRemoveCgroup(`${this.cgroup}/${CONTAINERS}`);
    this.space.run(["sh", "-c", POWER_OFF]);
  }

  /** Processes in the node's containers whose command line is as wanted, as the machine numbers them. */
  containerPids(wanted: (commandLine: string) => boolean): number[] {
    return processesIn(`${this.cgroup}/${CONTAINERS}`).filter((pid) => {
      try {
        return wanted(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
      } catch {
        return false;
      }
    });
  }

  /** Shims are started by containerd and outlive it; they have the node's network, as containers have not. */
  #shims(): number[] {
    const network = readlinkSync(`/proc/${this.space.place.pid}/ns/net`);
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === network &&
          readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("containerd-shim");
      } catch {
        return false;
      }
    }).map(Number);
  }

  async #until(name: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    await eventually(condition, () => `${name} to start: ${tail(this.space.dir, name)}`);
  }
}

/** What memory held is gone; the kubelet's and containerd's directories are on disk. */
const POWER_OFF = `
grep -E ' (/run/(containerd|netns)|/var/lib/kubelet/pods)/' /proc/self/mounts | cut -d' ' -f2 | sort -r |
  while read -r mount; do umount -l "$mount"; done
rm -rf /run/containerd /run/netns /run/cdi /dev/infiniband
`;

async function stop(daemon: Daemon | null, signal: NodeJS.Signals): Promise<void> {
  if (daemon === null) return;
  daemon.kill(signal);
  await daemon.ended;
}

/**
 * What the tests of the fake kubelet stand on.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { FakeKubelet, type FakeKubeletOptions } from "../../sim/kubelet/kubelet.ts";
import { PluginStub, type StubOptions } from "../support/plugin_stub.ts";
import { socketParent } from "../../sim/host/temporary.ts";

/** A started kubelet in a directory of its own, and stubs that are cleaned up with it. */
export class Bench {
  readonly dir = mkdtempSync(join(socketParent(), "fk-"));
  /** Outside of `dir`, which the kubelet empties. */
  readonly aside = mkdtempSync(join(socketParent(), "fk-aside-"));
  readonly registry = join(this.aside, "registry");
  readonly cdi = join(this.aside, "cdi");
  readonly kubelet: FakeKubelet;
  readonly #stubs: PluginStub[] = [];

  constructor(options: Partial<FakeKubeletOptions>, parts: { watcher?: boolean; cdi?: boolean } = {}) {
    this.kubelet = new FakeKubelet({
      dir: this.dir,
      ...(parts.watcher ? { pluginsRegistry: this.registry } : {}),
      ...(parts.cdi ? { cdiDirs: [this.cdi] } : {}),
      ...options,
    });
  }

  async stub(options: StubOptions = {}, dir = this.dir): Promise<PluginStub> {
    const stub = await PluginStub.listen(dir, options);
    this.#stubs.push(stub);
    return stub;
  }

  /** A stub whose first list has arrived. */
  async plugin(options: StubOptions = {}): Promise<PluginStub> {
    const stub = await this.stub(options);
    const before = this.kubelet.state().resources[stub.resource]?.lists ?? 0;
    await stub.register();
    await this.kubelet.waitFor((state) => (state.resources[stub.resource]?.lists ?? 0) > before);
    return stub;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubelet.close();
    for (const stub of this.#stubs) await stub.close();
    rmSync(this.dir, { recursive: true });
    rmSync(this.aside, { recursive: true });
  }
}

/** A started one. */
export async function bench(options: Partial<FakeKubeletOptions> = {}): Promise<Bench> {
  const made = new Bench(options);
  await made.kubelet.start();
  return made;
}

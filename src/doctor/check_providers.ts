/**
 * Checks of libibverbs and its provider libraries: whether user space here can use the HCAs of the kernel.
 *
 * @module
 */
import { counted } from "../text/counted.ts";
import type { Facts } from "./facts.ts";
import { type Finding, ok, problem, unchecked, warning } from "./finding.ts";
import { hasProvider, isConfigured } from "./providers.ts";
import { driverOf, type Provider } from "../hca/drivers.ts";
import type { Hca } from "../hca/types.ts";

/** Compares with what is installed: the provider library, its entry in libibverbs' configuration, and its ABI. */
export function providers({ inventory, providers }: Facts): Finding[] {
  const hcas = inventory.snapshot.hcas.filter((hca) => hca.subdeviceOf === null);
  if (hcas.length === 0) return [];
  if (providers === "missing") {
    return [warning(
      "provider",
      "libibverbs' provider libraries are not installed here",
      "the plugin works without them, from sysfs alone, but cannot cross-check the HCAs. Pods use their own",
      "apt-get install libibverbs1 ibverbs-providers, or use the plugin's image",
    )];
  }
  const needed = hcas.flatMap((hca) => {
    const provider = providerOf(hca);
    return provider === null ? [] : [{ hca, provider }];
  });
  const absent = providers === "hidden" ? [] : needed.flatMap(({ hca, provider }) => {
    const file = hasProvider(providers.libraries, provider.name);
    if (file && (providers.drivers === null || isConfigured(providers.drivers, provider.name))) return [];
    return [warning(
      "provider",
      file
        ? `${hca.name}: /etc/libibverbs.d has no ${provider.name}.driver, so libibverbs does not load its provider library`
        : `${hca.name} needs the provider library ${provider.name}, which is not in this image`,
      "libibverbs here does not list it; a pod whose image lacks the library cannot use it either",
      "install ibverbs-providers (or the vendor's rdma-core) in the image that uses the HCA",
    )];
  });
  const unfit = needed.flatMap(({ hca, provider }) => abiFinding(hca, provider));
  const open = hcas.filter((hca) => hca.uverbs !== null).flatMap((hca) => notChecked(hca) ?? []);
  const rest = open.length === 0 ? [] : [unchecked("provider", `provider libraries not checked: ${open.join("; ")}`)];
  if (absent.length + unfit.length > 0) return [...absent, ...unfit, ...rest];
  const checked = needed.filter(({ hca }) => notChecked(hca) === null).length;
  if (providers === "hidden" || checked === 0) return rest;
  const whose = rest.length === 0
    ? "every HCA has its"
    : checked === 1
    ? "1 HCA has its"
    : `${counted(checked, "HCA")} have their`;
  return [ok("provider", `${whose} provider library, with a fitting ABI`), ...rest];
}

/** Why it is not known whether the HCA's provider fits, with the HCA's name; null when it is known. */
function notChecked(hca: Hca): string | null {
  const provider = providerOf(hca);
  const driver = hca.kind === "virtual"
    ? "the software driver of this name"
    : `driver ${hca.pci?.driver ?? "(unknown)"}`;
  if (driverOf(hca) === null) return `${hca.name}, ${driver} is not in this plugin's table`;
  if (provider === null) return `${hca.name}, no rdma-core provider is known for ${driver}`;
  if (provider.abi === null) return `${hca.name}, the ABI versions of ${provider.name} are not known`;
  return (hca.uverbs?.abiVersion ?? null) === null ? `${hca.name}, the kernel does not report its ABI version` : null;
}

function providerOf(hca: Hca): Provider | null {
  return driverOf(hca)?.provider ?? null;
}

function abiFinding(hca: Hca, provider: Provider): Finding[] {
  const abi = hca.uverbs?.abiVersion ?? null;
  if (abi === null || provider.abi === null) return [];
  const [least, most] = provider.abi;
  if (abi >= least && abi <= most) return [];
  const range = most === Infinity ? `${least} and above` : least === most ? `only ${least}` : `${least} to ${most}`;
  return [problem(
    "provider-abi",
    `the kernel uses ABI version ${abi} for ${hca.name}, but the rdma-core provider ${provider.name} supports ${range}`,
    "libibverbs hides the HCA, in this image and in every pod with the same library",
    "use matching versions of the kernel driver and rdma-core: update the image's rdma-core, or the host's driver package",
  )];
}

/** Compares with the devices that libibverbs lists. */
export function verbs(facts: Facts): Finding[] {
  const { hcas, verbs } = facts.inventory.snapshot;
  if (verbs.kind === "failed") {
    return [warning(
      "verbs",
      `libibverbs failed to list devices (${verbs.detail})`,
      "the plugin uses sysfs alone; programs in pods may fail in the same way",
      "run ibv_devices on the node for details, and see dmesg",
    )];
  }
  if (verbs.kind === "not-asked" && hcas.length > 0 && !asksTheSame(facts)) {
    return [unchecked("verbs", `libibverbs was not asked: ${verbs.detail}; sysfs decides alone`)];
  }
  if (verbs.kind === "no-library" || verbs.kind === "not-asked") return [];
  const known = new Set(hcas.map((hca) => hca.name));
  const extra = verbs.kind === "list" ? verbs.devices.filter((one) => !known.has(one.name)) : [];
  const unlisted = libraryShouldList(facts);
  const findings: Finding[] = [];
  if (extra.length > 0) {
    findings.push(warning(
      "verbs",
      `libibverbs lists ${extra.map((one) => one.name).join(", ")}, but ${facts.sysfsRoot} does not have it`,
      "HCAs that are not in sysfs are not offered",
      "mount the host's /sys into the container, not its own",
    ));
  }
  if (unlisted.length > 0) {
    findings.push(warning(
      "verbs",
      `libibverbs does not list ${unlisted.map((hca) => hca.name).join(", ")}, although its node and provider exist`,
      "programs with the same library cannot use the HCA",
      "run IBV_SHOW_WARNINGS=1 ibv_devices for the cause, such as a library that cannot be loaded, or RDMAV_DRIVERS in the environment",
    ));
  }
  if (findings.length > 0 || hcas.length === 0 || !asksTheSame(facts)) return findings;
  return unlistedOf(facts).length > 0 ? [] : [ok("verbs", "libibverbs lists every HCA")];
}

/** HCAs that libibverbs does not list although no other finding explains it. */
function libraryShouldList(facts: Facts): readonly Hca[] {
  if (!asksTheSame(facts)) return [];
  const { providers } = facts;
  return unlistedOf(facts).filter((hca) => {
    const provider = providerOf(hca);
    if (!hca.uverbs?.present || provider === null || typeof providers === "string") return false;
    const installed = hasProvider(providers.libraries, provider.name) &&
      (providers.drivers === null || isConfigured(providers.drivers, provider.name));
    return installed && abiFinding(hca, provider).length === 0;
  });
}

function unlistedOf({ inventory }: Facts): readonly Hca[] {
  return inventory.snapshot.hcas.filter((hca) => hca.inVerbs === false && hca.subdeviceOf === null);
}

/** libibverbs always uses /dev/infiniband; with another --dev-root it may see different nodes. */
function asksTheSame({ devRoot }: Facts): boolean {
  return devRoot === "/dev";
}

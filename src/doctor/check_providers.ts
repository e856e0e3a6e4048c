/**
 * Checks of libibverbs and its provider libraries: can user space here drive what the kernel has.
 *
 * @module
 */
import type { Facts } from "./facts.ts";
import { count, type Finding, ok, problem, unchecked, warning } from "./finding.ts";
import { hasProvider, isConfigured } from "./providers.ts";
import { driverOf, type Provider } from "../hca/drivers.ts";
import type { Hca } from "../hca/types.ts";

/** Against what is installed: the library, libibverbs' order to load it, and the ABI that it speaks. */
export function providers({ inventory, providers }: Facts): Finding[] {
  const hcas = inventory.snapshot.hcas.filter((hca) => hca.subdeviceOf === null);
  if (hcas.length === 0) return [];
  if (providers === "missing") {
    return [warning(
      "provider",
      "libibverbs' provider libraries are not installed here",
      "the plugin works without them, from sysfs alone; only its second opinion is missing. Pods bring their own",
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
    : `${count(checked, "HCA")} have their`;
  return [ok("provider", `${whose} provider library, with a fitting ABI`), ...rest];
}

/** Why it is not known whether the HCA's provider fits: the HCA and what is not known; null when all is known. */
function notChecked(hca: Hca): string | null {
  const provider = providerOf(hca);
  const driver = hca.kind === "virtual"
    ? "the software driver of this name"
    : `driver ${hca.pci?.driver ?? "(none is told)"}`;
  if (driverOf(hca) === null) return `${hca.name}, ${driver} is not in this plugin's table`;
  if (provider === null) return `${hca.name}, no provider of rdma-core is known for ${driver}`;
  if (provider.abi === null) return `${hca.name}, which ABI versions ${provider.name} covers is not known`;
  return (hca.uverbs?.abiVersion ?? null) === null ? `${hca.name}, the kernel does not tell its ABI version` : null;
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
    `the kernel speaks ABI version ${abi} for ${hca.name}, the provider ${provider.name} of rdma-core ${range}`,
    "libibverbs hides the HCA, in this image and in every pod with the same library",
    "bring kernel driver and rdma-core to versions that fit: update the image's rdma-core, or the host's driver package",
  )];
}

/** What the library itself says. */
export function verbs(facts: Facts): Finding[] {
  const { hcas, verbs } = facts.inventory.snapshot;
  if (verbs.kind === "failed") {
    return [warning(
      "verbs",
      `libibverbs was asked for its devices and failed (${verbs.detail})`,
      "the plugin goes by sysfs alone; programs in pods may meet the same failure",
      "ibv_devices on the node says more; see dmesg",
    )];
  }
  if (verbs.kind === "no-library" || verbs.kind === "not-asked") return [];
  const known = new Set(hcas.map((hca) => hca.name));
  const strangers = verbs.kind === "list" ? verbs.devices.filter((one) => !known.has(one.name)) : [];
  const unlisted = libraryShouldList(facts);
  const findings: Finding[] = [];
  if (strangers.length > 0) {
    findings.push(warning(
      "verbs",
      `libibverbs lists ${strangers.map((one) => one.name).join(", ")}, and ${facts.sysfsRoot} does not show it`,
      "what is not in sysfs is not offered",
      "mount the host's /sys into the container, not its own",
    ));
  }
  if (unlisted.length > 0) {
    findings.push(warning(
      "verbs",
      `libibverbs does not list ${unlisted.map((hca) => hca.name).join(", ")}, though node and provider are there`,
      "programs with the same library cannot use the HCA",
      "IBV_SHOW_WARNINGS=1 ibv_devices says more: a library that cannot be loaded, or RDMAV_DRIVERS in the environment",
    ));
  }
  if (findings.length > 0 || hcas.length === 0 || !asksTheSame(facts)) return findings;
  return unlistedOf(facts).length > 0 ? [] : [ok("verbs", "libibverbs lists every HCA")];
}

/** HCAs that the library hides although nothing that was found elsewhere explains it. */
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

/** The library looks for nodes in /dev/infiniband, wherever the plugin was told to look: set aside, it sees none. */
function asksTheSame({ devRoot }: Facts): boolean {
  return devRoot === "/dev";
}

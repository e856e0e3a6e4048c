/**
 * Checks extended resource names as the kubelet does (`IsExtendedResourceName` in its helpers) before it is asked: the
 * kubelet would reject the name on each registration, in a log that few people read.
 *
 * @module
 */

const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
/** The kubelet adds the prefix `requests.` when it checks the quota name; a DNS name has at most 253 characters. */
const LONGEST_DOMAIN = 253 - "requests.".length;
const LONGEST_NAME = 63;

/**
 * The problem with a full extended resource name, as the end of the sentence `the name "…" `; null when it is valid.
 */
export function nameProblem(name: string): string | null {
  const slash = name.indexOf("/");
  if (slash < 0) return `has no domain: write "domain/name", such as "rdma/${QUALIFIED.test(name) ? name : "hca"}"`;
  const domain = name.slice(0, slash);
  const rest = name.slice(slash + 1);
  if (rest.includes("/")) return `has more than one "/"`;
  // The kubelet searches for this text anywhere before the name, so "mykubernetes.io/x" is rejected as well.
  if (name.includes("kubernetes.io/")) return "is in Kubernetes' own domain; use a domain of yours";
  if (name.startsWith("requests.")) return `begins with "requests.", which quotas use`;
  if (domain === "") return `has nothing before "/"`;
  if (domain.length > LONGEST_DOMAIN) return `has a domain of ${domain.length} characters, more than ${LONGEST_DOMAIN}`;
  if (!domain.split(".").every((label) => label.length <= 63 && DNS_LABEL.test(label))) {
    return `has a domain that is not a DNS name: lower-case letters, digits, "-" and "." only`;
  }
  if (rest === "") return `has nothing after "/"`;
  if (rest.length > LONGEST_NAME) return `has ${rest.length} characters after "/", more than ${LONGEST_NAME}`;
  if (!QUALIFIED.test(rest)) {
    return `is not a qualified name: letters, digits, "-", "_" and "." only, the first and the last a letter or a digit`;
  }
  return null;
}

/**
 * The parts of the kernel and libc ABI used through FFI: constants under their C names, sizes and offsets.
 *
 * The values are those of x86_64 and arm64, the architectures that Deno supports. `test/hca/abi_test.ts` compiles a C
 * program from these tables, so every key must be spelt as in the header.
 *
 * @module
 */

/** Constants by header. */
export const C = {
  // <sys/socket.h>, <asm-generic/socket.h>
  AF_NETLINK: 16,
  SOCK_RAW: 3,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_RCVBUF: 8,
  SO_RCVBUFFORCE: 33,
  MSG_DONTWAIT: 0x40,
  MSG_TRUNC: 0x20,
  // <sys/eventfd.h>
  EFD_NONBLOCK: 0o4000,
  EFD_CLOEXEC: 0o2000000,
  // <poll.h>
  POLLIN: 1,
  // <errno.h>
  EINTR: 4,
  EAGAIN: 11,
  EINVAL: 22,
  ENOBUFS: 105,
  // <linux/netlink.h>
  NETLINK_ROUTE: 0,
  NETLINK_KOBJECT_UEVENT: 15,
  NETLINK_RDMA: 20,
  NLMSG_ERROR: 2,
  NLM_F_REQUEST: 1,
  NLA_TYPE_MASK: -49153, // ~(NLA_F_NESTED | NLA_F_NET_BYTEORDER), an int in C
  // <linux/rtnetlink.h>
  RTMGRP_LINK: 1,
  RTMGRP_IPV4_IFADDR: 0x10,
  RTMGRP_IPV6_IFADDR: 0x100,
  RTM_NEWLINK: 16,
  RTM_DELLINK: 17,
  RTM_NEWADDR: 20,
  RTM_DELADDR: 21,
  // <linux/if_link.h>
  IFLA_ADDRESS: 1,
  IFLA_IFNAME: 3,
  IFLA_MASTER: 10,
  IFLA_OPERSTATE: 16,
  IFLA_CARRIER: 33,
  // <linux/if_addr.h>
  IFA_ADDRESS: 1,
  IFA_LOCAL: 2,
  // <linux/if.h>
  IFF_UP: 1,
  IFF_RUNNING: 0x40,
  IFF_LOWER_UP: 0x10000,
  IF_OPER_UNKNOWN: 0,
  IF_OPER_UP: 6,
  // <linux/sockios.h>
  SIOCGIFHWADDR: 0x8927,
  SIOCGIFINDEX: 0x8933,
  // <elf.h>
  AT_PHDR: 3,
  AT_PHENT: 4,
  AT_PHNUM: 5,
  PT_LOAD: 1,
  PT_PHDR: 6,
  PF_W: 2,
  // <sys/mman.h>
  MADV_DONTNEED: 4,
  // <rdma/rdma_netlink.h>
  RDMA_NL_NLDEV: 5,
  RDMA_NLDEV_CMD_SYS_GET: 6,
  RDMA_NLDEV_SYS_ATTR_NETNS_MODE: 66,
} as const;

/** `sizeof(struct …)` in bytes. */
export const SIZE = {
  pollfd: 8, // <poll.h>
  sockaddr_nl: 12, // <linux/netlink.h>
  nlmsghdr: 16, // <linux/netlink.h>
  nlmsgerr: 20, // <linux/netlink.h>
  rtattr: 4, // <linux/rtnetlink.h>
  ifinfomsg: 16, // <linux/rtnetlink.h>
  ifaddrmsg: 8, // <linux/if_addr.h>
  ifreq: 40, // <linux/if.h>
} as const;

/** `offsetof(struct …, field)` in bytes; the field's width is in the comment. */
export const OFFSET = {
  pollfd: { fd: 0, /* int */ events: 4, /* short */ revents: 6 /* short */ },
  sockaddr_nl: { nl_family: 0, /* u16 */ nl_pid: 4, /* u32 */ nl_groups: 8 /* u32 */ },
  nlmsghdr: {
    nlmsg_len: 0, /* u32, this header included */
    nlmsg_type: 4, /* u16 */
    nlmsg_flags: 6, /* u16 */
    nlmsg_seq: 8, /* u32 */
    nlmsg_pid: 12, /* u32 */
  },
  nlmsgerr: { error: 0 /* int, -errno or 0 */ },
  rtattr: { rta_len: 0, /* u16, this header included */ rta_type: 2 /* u16 */ },
  ifinfomsg: { ifi_family: 0, /* u8 */ ifi_index: 4, /* int */ ifi_flags: 8, /* u32 */ ifi_change: 12 /* u32 */ },
  ifaddrmsg: { ifa_family: 0, /* u8 */ ifa_prefixlen: 1, /* u8 */ ifa_index: 4 /* u32 */ },
  ifreq: { ifr_name: 0, /* char[16] */ ifr_ifindex: 16, /* int */ ifr_hwaddr: 16 /* struct sockaddr */ },
} as const;

#!/bin/bash
# First process of a node: it makes the node's own /dev, /etc, /sys, /run and /var, says "ready", and lives as long as its
# standard input is open. It runs in namespaces of its own, so with it everything goes: processes, mounts, links, containers.
#
# $1: the node's directory; $2: its cgroup, a name; $3: its network link; $4: that link's address; $5: the address of the API
# server's service
set -eu
dir=$1 cgroup=$2 link=$3 address=$4 service=$5

# True for the root of a cgroup tree: one a controller in version 1, the only one in version 2.
is_cgroup() {
  [ -e "$1/cgroup.procs" ] && [ ! -L "$1" ] || return 1
  case $1 in /sys/fs/cgroup/*) [ ! -e /sys/fs/cgroup/cgroup.procs ] ;; esac
}

# The node's cgroup is the root of all that its processes see: first it is entered, then the namespace is made.
if [ "${IN_CGROUP:-}" = "" ]; then
  for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
    is_cgroup "$tree" || continue
    mkdir -p "$tree/$cgroup"
    if [ -e "$tree/cpuset.cpus" ] && [ ! -e "$tree/cgroup.controllers" ]; then
      cat "$tree/cpuset.cpus" >"$tree/$cgroup/cpuset.cpus"
      cat "$tree/cpuset.mems" >"$tree/$cgroup/cpuset.mems"
    fi
    for controller in $(cat "$tree/cgroup.controllers" 2>/dev/null); do
      echo "+$controller" >"$tree/cgroup.subtree_control" 2>/dev/null || true
    done
    echo 0 >"$tree/$cgroup/cgroup.procs"
  done
  IN_CGROUP=1 exec unshare --cgroup bash "$0" "$@"
fi

mount --make-rprivate /
hostname rdma-node

# What a node writes, in memory.
for tree in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$tree"; done
mkdir -p /run/lock /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods
# The machine's settings to begin with; what the node and its pods write there stays theirs.
cp -a /etc /run/etc
rm -rf /run/etc/cdi /run/etc/kubernetes
mount --bind /run/etc /etc

# The fake host's sysfs in place of the machine's, with those parts of the real one that kubelet and runc need. The fake
# devices/system has two NUMA nodes, whatever the machine has.
mkdir /run/sys
mount --bind "$dir/host/sys" /run/sys
mount --rbind /sys/fs/cgroup /run/sys/fs/cgroup
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
  ! is_cgroup "$tree" || mount --bind "$tree/$cgroup" "/run$tree"
done
mount --move /run/sys /sys
# In version 2 a cgroup has processes or controllers for those below.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir /sys/fs/cgroup/system
  echo 0 >/sys/fs/cgroup/system/cgroup.procs
fi

# A /dev of its own: nodes of adapters that are made here exist nowhere else.
mkdir /run/dev
mount -t tmpfs -o mode=755 tmpfs /run/dev
cd /run/dev
mknod -m 666 null c 1 3
mknod -m 666 zero c 1 5
mknod -m 666 full c 1 7
mknod -m 666 random c 1 8
mknod -m 666 urandom c 1 9
mknod -m 600 kmsg c 1 11
mknod -m 666 tty c 5 0
mkdir pts shm mqueue infiniband
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts pts
mount -t tmpfs tmpfs shm
ln -s pts/ptmx ptmx
ln -s /proc/self/fd fd
cd /
mount --move /run/dev /dev

ip link set lo up
ip address add "$service/32" dev lo
# It is put in here from outside.
until ip link show "$link" >/dev/null 2>&1; do sleep 0.02; done
ip address add "$address" dev "$link"
ip link set "$link" up

echo ready
# Nothing is ever said; the end of input is the end of the node.
while read -r _; do :; done

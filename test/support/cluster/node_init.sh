#!/bin/bash
# First process of a node: it makes the node's own /dev, /sys, /run and /var, says "ready", and lives as long as its standard
# input is open. It runs in namespaces of its own, so with it everything goes: processes, mounts, links, containers.
#
# $1: the node's directory; $2: its network link; $3: that link's address
set -eu
dir=$1 link=$2 address=$3

mount --make-rprivate /
hostname rdma-node

# What a node writes, in memory.
for tree in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$tree"; done
mkdir -p /run/lock /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods
[ ! -d /etc/cdi ] || mount -t tmpfs tmpfs /etc/cdi

# The fake host's sysfs in place of the machine's, with those parts of the real one that kubelet and runc need. The fake
# devices/system has two NUMA nodes, whatever the machine has.
mkdir /run/sys
mount --bind "$dir/host/sys" /run/sys
mount --rbind /sys/fs/cgroup /run/sys/fs/cgroup
mount --move /run/sys /sys

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
# It is put in here from outside.
until ip link show "$link" >/dev/null 2>&1; do sleep 0.02; done
ip address add "$address" dev "$link"
ip link set "$link" up

echo ready
# Nothing is ever said; the end of input is the end of the node.
while read -r _; do :; done

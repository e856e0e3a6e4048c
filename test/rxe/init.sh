#!/bin/busybox sh
# First process of the guest: makes it a machine, runs the checks, switches it off. What the checks report goes to the
# second serial line, one JSON object a line; everything else, the kernel's words included, to the console.
/bin/busybox mkdir -p /usr/sbin /usr/bin /sbin
/bin/busybox --install -s /bin
# iproute2 and kmod before busybox, whose own ip and modprobe can do less.
export PATH=/usr/sbin:/bin
ln -s kmod /usr/sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
exec >/dev/console 2>&1
stty -F /dev/ttyS1 raw -echo
ip link set lo up
export HOME=/tmp DENO_DIR=/deno DENO_NO_UPDATE_CHECK=1 NO_COLOR=1
cd /app || poweroff -f
deno run -A --no-check --cached-only test/rxe/inside.ts >/dev/ttyS1
echo "the checks ended with status $?"
sync
poweroff -f

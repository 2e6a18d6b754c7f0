# The beginning of every image's init: file systems, the modules in their order, no addresses of our own.
/bin/busybox mkdir -p /proc /sys /dev /run/outrider /tmp /var/lib /sbin /usr/bin
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up

silence_ipv6() {
  switch=/proc/sys/net/ipv6/conf/$1/disable_ipv6
  [ ! -e "$switch" ] || echo 1 >"$switch"
}

# The value of NAME=VALUE on the kernel's command line, or nothing.
option() {
  for word in $(cat /proc/cmdline); do
    case $word in "$1="*) echo "${word#*=}" ;; esac
  done
}

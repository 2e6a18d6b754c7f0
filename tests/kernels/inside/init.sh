# After the common beginning of every image: Outrider's Python, its results on the second serial port, and off.
ln -s /run /var/run
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
echo "{\"machine\": \"init\", \"uptime_s\": $(cut -d" " -f1 /proc/uptime)}" >/dev/ttyS1
. /environment
stty -F /dev/ttyS1 raw
"$PYTHON" -m kernels.inside.main "$EXPECTED_HOOKS" >/dev/ttyS1 2>/dev/ttyS0
poweroff -f

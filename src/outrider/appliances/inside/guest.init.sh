# The lab's guest: addresses from the kernel's command line, a web server, and a shell on a virtio-serial port.
#   outrider.ip=ADDRESS/LENGTH[,…]  for eth0, eth1, …     outrider.gw=ADDRESS     outrider.name=NAME
hostname "$(option outrider.name)"
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
number=0
for address in $(option outrider.ip | tr , ' '); do
  ip address add "$address" dev eth$number
  ip link set dev eth$number up
  number=$((number + 1))
done
gateway=$(option outrider.gw)
[ -z "$gateway" ] || ip route add default via "$gateway"

mkdir -p /www
echo "<html><body>This is $(hostname), a guest under Outrider's care.</body></html>" >/www/index.html
httpd -h /www

# One line in, its output and then a line with its exit status out. The host's side may come and go.
serve_commands() {
  while true; do
    while read -r line; do
      sh -c "$line" 2>&1 </dev/null
      echo "outrider-exit $?"
    done <>"$1" >&0  # the port can be open only once
    sleep 0.1
  done
}
for named in /sys/class/virtio-ports/*/name; do
  [ "$(cat "$named" 2>/dev/null)" = outrider.exec ] || continue
  serve_commands "/dev/$(basename "$(dirname "$named")")" &
done
echo "outrider: guest $(hostname) is up"
while true; do sleep 2147483647; done

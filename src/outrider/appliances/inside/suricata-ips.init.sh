# The appliance that inspects: Suricata between eth0 and eth1, started once the host has given it its rules.
for port in eth0 eth1; do
  silence_ipv6 $port
  ip link set dev $port mtu "$(option outrider.mtu)" promisc on
  ip link set dev $port up
done
/bin/outrider-inside || exit 1
exec /usr/bin/suricata -c /etc/outrider/suricata.yaml --af-packet -l /run/outrider

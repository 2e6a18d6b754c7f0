# The appliance that inspects nothing: a bridge that does not learn, since guests' addresses come in from both sides.
brctl addbr lane
brctl stp lane off
silence_ipv6 lane
echo 0 >/sys/class/net/lane/bridge/multicast_snooping
echo 65528 >/sys/class/net/lane/bridge/group_fwd_mask
ip link set dev lane mtu "$(option outrider.mtu)"
ip link set dev lane up
for port in eth0 eth1; do
  silence_ipv6 $port
  ip link set dev $port mtu "$(option outrider.mtu)"
  ip link set dev $port up
  brctl addif lane $port
  echo 0 >/sys/class/net/$port/brport/learning
done
exec sleep 2147483647

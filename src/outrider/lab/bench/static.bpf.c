// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The floor: the detour of one wire written out by hand. It knows one port, one lane, one peer, all constants when it is
 * loaded; it looks nothing up, counts nothing and guards nothing. The pushes, pops, marks and redirects are those of a
 * wire: what a wire costs beyond this is what its tables, counters and guards cost.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct constants {
	__u32 mark;
	__u32 lane;
	__u32 port;    /* where to send it */
	__u32 ingress; /* 1: as if received there */
	__u32 peer;    /* IPv4 in host order */
	__u32 tunnel_id;
};

const volatile struct constants constants = {};

static __always_inline int into_tunnel(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = constants.tunnel_id,
		.remote_ipv4 = constants.peer,
		.tunnel_ttl = 64,
	};

	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return TC_ACT_SHOT;
	return bpf_redirect(constants.port, 0);
}

static __always_inline int into_lane(struct __sk_buff *skb)
{
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), constants.lane))
		return TC_ACT_SHOT;
	return bpf_redirect(constants.port, 0);
}

static __always_inline int back(struct __sk_buff *skb)
{
	skb->mark = constants.mark;
	return bpf_redirect(constants.port, constants.ingress ? BPF_F_INGRESS : 0);
}

/* On the guest's port, either hook. */
SEC("tc")
int st_wire_local(struct __sk_buff *skb)
{
	if (skb->mark == constants.mark) {
		skb->mark = 0;
		return -1;
	}
	return into_lane(skb);
}

SEC("tc")
int st_wire_remote(struct __sk_buff *skb)
{
	if (skb->mark == constants.mark) {
		skb->mark = 0;
		return -1;
	}
	return into_tunnel(skb);
}

/* On an appliance's port, from it. */
SEC("tc")
int st_out_back(struct __sk_buff *skb)
{
	if (bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return back(skb);
}

SEC("tc")
int st_out_tunnel(struct __sk_buff *skb)
{
	if (bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return into_tunnel(skb);
}

static __always_inline __u32 tunnel_id(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};

	return bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) ? 0 : key.tunnel_id;
}

/* On the tunnel device. Both directions arrive here, told apart by the identifier; the other one is the next program's. */
SEC("tc")
int st_tunnel_lane(struct __sk_buff *skb)
{
	return tunnel_id(skb) == constants.tunnel_id ? into_lane(skb) : -1;
}

SEC("tc")
int st_tunnel_back(struct __sk_buff *skb)
{
	return tunnel_id(skb) == constants.tunnel_id ? back(skb) : -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";

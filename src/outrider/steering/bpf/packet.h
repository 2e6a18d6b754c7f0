/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a decision may depend on. Reading it is separate from deciding, so that `outrider trace` and the tests can put
 * in what the test runner cannot (a tunnel sender), and so that the reference model has the same input.
 */
#ifndef OUTRIDER_PACKET_H
#define OUTRIDER_PACKET_H

#include "maps.h"

struct packet {
	enum hook hook;
	__u32 ifindex;
	__u32 mark;
	__u32 lane;      /* NO_LANE when there is no 802.1Q tag */
	__u32 sender;    /* tunnel: IPv4 in host order */
	__u32 tunnel_id;
};

/* The trace words are drawn at random by each loader: what other layers leave in cb[] cannot be taken for them, and
 * if it were, the packet would be dropped. */
static __always_inline bool is_trace(const struct __sk_buff *skb)
{
	return skb->cb[0] == settings.trace[0] && skb->cb[1] == settings.trace[1] && skb->cb[2] == settings.trace[2];
}

/* The outermost VLAN id: in the buffer's metadata (as drivers and veth hand it over) or still in the frame. */
static __always_inline __u32 read_lane(struct __sk_buff *skb)
{
	__u16 tci;

	if (skb->vlan_present)
		return skb->vlan_proto == bpf_htons(ETH_P_8021Q) ? (__u32)(skb->vlan_tci & 0xfff) : (__u32)NO_LANE;
	if (skb->protocol != bpf_htons(ETH_P_8021Q))
		return NO_LANE;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &tci, sizeof(tci)))
		return NO_LANE;
	return bpf_ntohs(tci) & 0xfff;
}

static __always_inline void read_sender(struct __sk_buff *skb, struct packet *packet, bool trace)
{
	struct bpf_tunnel_key key = {};

	if (trace) {
		packet->sender = skb->cb[3];
		packet->tunnel_id = skb->cb[4];
		return;
	}
	/* No key, or an IPv6 peer, leaves 0.0.0.0: nobody's address, so nobody's key. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return;
	packet->sender = key.remote_ipv4;
	packet->tunnel_id = key.tunnel_id;
}

struct ipv4_udp {
	__u8 version_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 check;
	__be32 source, target;
	__be16 source_port, target_port; /* where they are when the header has no options */
};

/* True for a packet to the tunnel's UDP port. Of a fragmented one only the first fragment says so, and it is that
 * fragment's mark which the kernel keeps. One read for all packets but those with IP options: this runs for everything
 * that the underlay receives. */
static __always_inline bool is_to_tunnel(struct __sk_buff *skb)
{
	struct ipv4_udp head;
	__be16 port;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &head, sizeof(head)))
		return false;
	if (head.protocol != IPPROTO_UDP || head.fragment & bpf_htons(0x1fff))
		return false;
	port = head.target_port;
	if (head.version_ihl != 0x45 &&
	    bpf_skb_load_bytes(skb, ETH_HLEN + (head.version_ihl & 0xf) * 4 + 2, &port, sizeof(port)))
		return false;
	return bpf_ntohs(port) == settings.tunnel_port;
}

static __always_inline struct packet read_packet(struct __sk_buff *skb, enum hook hook, bool trace)
{
	struct packet packet = {
		.hook = hook,
		.ifindex = skb->ifindex,
		.mark = skb->mark,
		.lane = NO_LANE,
	};

	if (hook == HOOK_FROM_APPLIANCE)
		packet.lane = read_lane(skb);
	if (hook == HOOK_FROM_TUNNEL)
		read_sender(skb, &packet, trace);
	return packet;
}

#endif

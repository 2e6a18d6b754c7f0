// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The wires: small programs around one decision.
 *
 *   egress   guest -> [from_guest] -> inport  appliance outport -> [from_vsa] -> [from_guest again, marked] -> fabric
 *   ingress  fabric -> [to_guest]  -> outport appliance inport  -> [from_vsa] -> [to_guest again, marked]   -> guest
 *
 * A hop on another server is [to_tunnel] ... [from_tunnel] instead of a local port. Names begin with or_, by which
 * anyone (and the next agent) can tell that a program is Outrider's; the kernel keeps 15 characters of them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "act.h"

static __always_inline int meet(struct __sk_buff *skb, enum hook hook)
{
	bool trace = is_trace(skb);
	struct packet packet = read_packet(skb, hook, trace);
	struct verdict verdict = decide(&packet);

	return trace ? report(skb, &verdict) : act(skb, &verdict, hook);
}

SEC("tc")
int or_from_guest(struct __sk_buff *skb)
{
	return meet(skb, HOOK_FROM_GUEST);
}

SEC("tc")
int or_to_guest(struct __sk_buff *skb)
{
	return meet(skb, HOOK_TO_GUEST);
}

SEC("tc")
int or_from_vsa(struct __sk_buff *skb)
{
	return meet(skb, HOOK_FROM_APPLIANCE);
}

SEC("tc")
int or_to_vsa(struct __sk_buff *skb)
{
	return meet(skb, HOOK_TO_APPLIANCE);
}

SEC("tc")
int or_from_tunnel(struct __sk_buff *skb)
{
	return meet(skb, HOOK_FROM_TUNNEL);
}

SEC("tc")
int or_to_tunnel(struct __sk_buff *skb)
{
	return meet(skb, HOOK_TO_TUNNEL);
}

/* Decides nothing: it only says, to or_from_tunnel, by which way a packet came. */
SEC("tc")
int or_from_under(struct __sk_buff *skb)
{
	if (is_to_tunnel(skb))
		set_mark(skb, settings.mark_arrived);
	return PASS_ON;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The thin tail: does what the verdict says, and nothing that a decision depends on except the guest's announcement.
 */
#ifndef OUTRIDER_ACT_H
#define OUTRIDER_ACT_H

#include "count.h"

/* "Not for me to say": TCX_NEXT and TC_ACT_UNSPEC. TC_ACT_OK would skip every filter behind us (DESIGN 4.1). */
#define PASS_ON (-1)

/* Trace answers in cb[], which the test runner hands back. */
static __always_inline int report(struct __sk_buff *skb, const struct verdict *verdict)
{
	skb->cb[0] = verdict->action | verdict->reason << 8 | verdict->direction << 16 | verdict->state << 24;
	skb->cb[1] = verdict->step ? verdict->step->ifindex : 0;
	skb->cb[2] = verdict->step ? verdict->step->path : 0;
	skb->cb[3] = 0;
	skb->cb[4] = 0;
	if (verdict->step && verdict->action == ACTION_DELIVER)
		skb->cb[3] = verdict->step->mark;
	if (verdict->step && verdict->action == ACTION_ENTER)
		skb->cb[3] = verdict->step->lane;
	if (verdict->step && verdict->action == ACTION_TUNNEL) {
		skb->cb[3] = verdict->step->tunnel_id;
		skb->cb[4] = verdict->step->peer;
	}
	return TC_ACT_SHOT;
}

static __always_inline void set_mark(struct __sk_buff *skb, __u32 ours)
{
	/* Keeps clang from holding on to &skb->mark: the verifier wants context accesses from its very beginning. */
	asm volatile("" : "+r"(skb));
	skb->mark = (skb->mark & ~settings.mark_mask) | ours;
}

/* Written once per wire and incarnation, so that the line stays shared between the CPUs. */
static __always_inline void note_announcement(const struct verdict *verdict)
{
	__u32 slot = verdict->slot;
	__u32 *epoch = bpf_map_lookup_elem(&announced, &slot);

	if (epoch && *(volatile __u32 *)epoch != verdict->epoch)
		*(volatile __u32 *)epoch = verdict->epoch;
}

static __always_inline int fail(struct __sk_buff *skb, const struct verdict *verdict)
{
	struct verdict failed = *verdict;

	failed.reason = REASON_FAILED;
	count_drop(&failed, frames_of(skb), skb->len);
	return TC_ACT_SHOT;
}

static __always_inline int enter(struct __sk_buff *skb, const struct verdict *verdict)
{
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), verdict->step->lane))
		return fail(skb, verdict);
	set_mark(skb, settings.mark_entering);
	return bpf_redirect(verdict->step->ifindex, 0);
}

static __always_inline int tunnel(struct __sk_buff *skb, const struct verdict *verdict)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = verdict->step->tunnel_id,
		.remote_ipv4 = verdict->step->peer,
		.tunnel_ttl = 64,
	};

	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return fail(skb, verdict);
	set_mark(skb, settings.mark_entering);
	return bpf_redirect(verdict->step->ifindex, 0);
}

/* Back to the wire's own port: what the guest sent as if received there, what it shall get as if sent there. */
static __always_inline int deliver(struct __sk_buff *skb, const struct verdict *verdict)
{
	set_mark(skb, verdict->step->mark);
	return bpf_redirect(verdict->step->ifindex, verdict->step->direction == EGRESS ? BPF_F_INGRESS : 0);
}

static __always_inline int act(struct __sk_buff *skb, const struct verdict *verdict, enum hook hook)
{
	count(skb, verdict, hook);
	if (hook == HOOK_FROM_GUEST && verdict->is_first && verdict->state != PORT_NONE)
		note_announcement(verdict);
	if (verdict->action == ACTION_DROP)
		return TC_ACT_SHOT;
	if (verdict->action == ACTION_PASS) {
		/* An open wire leaves marks alone that are not ours. */
		if (verdict->reason != REASON_OPEN)
			set_mark(skb, 0);
		return PASS_ON;
	}
	if (!verdict->step)
		return TC_ACT_SHOT;
	if (hook == HOOK_FROM_APPLIANCE && bpf_skb_vlan_pop(skb))
		return fail(skb, verdict);
	switch (verdict->action) {
	case ACTION_DELIVER:
		return deliver(skb, verdict);
	case ACTION_ENTER:
		return enter(skb, verdict);
	case ACTION_TUNNEL:
		return tunnel(skb, verdict);
	default:
		return TC_ACT_SHOT;
	}
}

#endif

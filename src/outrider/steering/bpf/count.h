/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counting, in frames as the wire would see them: a GSO buffer is ceil(payload / gso_size) frames. gso_segs says so at
 * once where the kernel filled it in; a guest's TSO buffer arrives from its tap with gso_segs 0 (tried: RECIPES E), and
 * then the headers must be read to know the payload.
 */
#ifndef OUTRIDER_COUNT_H
#define OUTRIDER_COUNT_H

#include "decide.h"

/* Bytes of link, network and transport header; of a frame we cannot read, the link header's. */
static __always_inline __u32 header_length(struct __sk_buff *skb)
{
	__u32 offset = ETH_HLEN;
	__u16 proto = 0;
	__u8 version_ihl = 0, transport = 0, data_offset = 0;
	int tags;

	if (bpf_skb_load_bytes(skb, 12, &proto, 2))
		return offset;
	for (tags = 0; tags < 2; tags++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, offset + 2, &proto, 2))
			return offset;
		offset += 4;
	}
	if (proto == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, offset, &version_ihl, 1) || bpf_skb_load_bytes(skb, offset + 9, &transport, 1))
			return offset;
		offset += (version_ihl & 0xf) * 4;
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, offset + 6, &transport, 1))
			return offset;
		offset += 40;
	}
	if (transport == IPPROTO_UDP)
		return offset + 8;
	if (transport == IPPROTO_TCP && !bpf_skb_load_bytes(skb, offset + 12, &data_offset, 1))
		return offset + (data_offset >> 4) * 4;
	return offset;
}

static __always_inline __u32 frames_of(struct __sk_buff *skb)
{
	__u32 headers;

	if (!skb->gso_size)
		return 1;
	if (skb->gso_segs)
		return skb->gso_segs;
	headers = header_length(skb);
	if (skb->len <= headers)
		return 1;
	return (skb->len - headers + skb->gso_size - 1) / skb->gso_size;
}

/* Per CPU: no other writer, so no atomics. */
static __always_inline void add(struct counter *counter, __u32 frames, __u32 bytes)
{
	counter->frames += frames;
	counter->bytes += bytes;
	counter->buffers += 1;
}

static __always_inline void count_drop(const struct verdict *verdict, __u32 frames, __u32 bytes)
{
	__u32 zero = 0;
	struct drop_counts *counts = bpf_map_lookup_elem(&drops, &zero);

	if (counts && verdict->reason < REASONS)
		add(&counts->of[verdict->reason], frames, bytes);
}

static __always_inline void count_on_wire(const struct verdict *verdict, __u32 frames, __u32 bytes)
{
	__u32 slot = verdict->slot, direction = verdict->direction & 1;
	struct wire_counts *counts;

	if (verdict->state == PORT_NONE)
		return;
	counts = bpf_map_lookup_elem(&wire_counters, &slot);
	if (!counts)
		return;
	if (verdict->is_first)
		add(&counts->of[FIRST_EGRESS + direction], frames, bytes);
	switch (verdict->reason) {
	case REASON_MARKED:
		add(&counts->of[PASSED_EGRESS + direction], frames, bytes);
		break;
	case REASON_HELD:
		add(&counts->of[HELD_EGRESS + direction], frames, bytes);
		break;
	case REASON_OPEN:
		add(&counts->of[OPENED_EGRESS + direction], frames, bytes);
		break;
	case REASON_STALE_MARK:
		add(&counts->of[STALE_MARK_EGRESS + direction], frames, bytes);
		break;
	case REASON_LOOP:
		add(&counts->of[LOOP_EGRESS + direction], frames, bytes);
		break;
	case REASON_AWAITING:
		add(&counts->of[AWAITING_INGRESS], frames, bytes);
		break;
	}
}

static __always_inline void count_at_appliance(const struct verdict *verdict, enum hook hook, __u32 frames, __u32 bytes)
{
	__u32 slot = verdict->slot, index;
	struct appliance_counts *counts;

	if (verdict->state != PORT_APPLIANCE)
		return;
	counts = bpf_map_lookup_elem(&vsa_counters, &slot);
	if (!counts)
		return;
	if (hook == HOOK_TO_APPLIANCE)
		index = verdict->action == ACTION_PASS ? ENTERED : REFUSED_IN;
	else if (verdict->reason == REASON_PROBE)
		index = PROBES;
	else
		index = verdict->action == ACTION_DROP ? REFUSED_OUT : LEFT;
	add(&counts->of[index], frames, bytes);
}

static __always_inline void count(struct __sk_buff *skb, const struct verdict *verdict, enum hook hook)
{
	__u32 frames = frames_of(skb), bytes = skb->len;

	if (hook == HOOK_FROM_GUEST || hook == HOOK_TO_GUEST)
		count_on_wire(verdict, frames, bytes);
	if (hook == HOOK_FROM_APPLIANCE || hook == HOOK_TO_APPLIANCE)
		count_at_appliance(verdict, hook, frames, bytes);
	if (verdict->action == ACTION_DROP)
		count_drop(verdict, frames, bytes);
}

#endif

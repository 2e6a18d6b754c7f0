/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decide(packet) -> verdict. It reads the tables and writes nothing. The pure model in pipeline/model.py says the same
 * in Python, and random packets over random tables are put to both.
 *
 * The safety property (DESIGN I1) is two lines of this file: ACTION_PASS on a vnic port is returned for a mark that
 * equals the port's own, and for a wire that is open.
 */
#ifndef OUTRIDER_DECIDE_H
#define OUTRIDER_DECIDE_H

#include "packet.h"

struct verdict {
	__u8 action;
	__u8 reason;
	__u8 direction;
	__u8 state;     /* of the port met */
	bool is_first;  /* on a vnic port: not one of ours coming back */
	__u32 slot;     /* wire slot or appliance port slot, by state */
	__u32 epoch;
	const struct step *step;
};

#define FIELD(word, name) (((word) >> name##_SHIFT) & ((1ULL << name##_BITS) - 1))

static __always_inline __u64 load_word(void *map, __u32 index)
{
	__u64 *word = bpf_map_lookup_elem(map, &index);

	return word ? *(volatile __u64 *)word : 0;
}

static __always_inline struct verdict drop(struct verdict verdict, enum reason reason)
{
	verdict.action = ACTION_DROP;
	verdict.reason = reason;
	return verdict;
}

static __always_inline struct verdict pass(struct verdict verdict, enum reason reason)
{
	verdict.action = ACTION_PASS;
	verdict.reason = reason;
	return verdict;
}

static __always_inline struct verdict onward(struct verdict verdict, const struct step *step)
{
	if (!step || step->action == ACTION_DROP)
		return drop(verdict, REASON_NO_STEP);
	verdict.action = step->action;
	verdict.reason = REASON_ONWARD;
	verdict.direction = step->direction;
	verdict.step = step;
	return verdict;
}

static __always_inline const struct step *row_step(__u64 row)
{
	__u32 slot = FIELD(row, ROW_STEP);

	return bpf_map_lookup_elem(&steps, &slot);
}

static __always_inline const struct step *first_step(__u64 word, enum direction direction)
{
	__u32 slot = FIELD(word, PORT_PATH);
	const struct path *path = bpf_map_lookup_elem(&paths, &slot);

	return path ? &path->first[direction] : 0;
}

static __always_inline bool is_ours(__u32 mark)
{
	return mark & settings.mark_flag;
}

static __always_inline bool is_entering(__u32 mark)
{
	return (mark & settings.mark_mask) == settings.mark_entering;
}

static __always_inline __u32 wire_mark(const struct verdict *verdict, enum direction direction)
{
	return settings.mark_flag | (direction == INGRESS ? settings.mark_ingress : 0) |
	       verdict->epoch << settings.epoch_shift | verdict->slot << settings.wire_shift;
}

static __always_inline bool is_announced(const struct verdict *verdict)
{
	__u32 slot = verdict->slot;
	__u32 *epoch = bpf_map_lookup_elem(&announced, &slot);

	return epoch && *(volatile __u32 *)epoch == verdict->epoch;
}

static __always_inline struct verdict decide_on_vnic_port(const struct packet *packet, enum direction direction)
{
	__u64 word = load_word(&ports, packet->ifindex);
	struct verdict verdict = {
		.direction = direction,
		.state = FIELD(word, PORT_STATE),
		.slot = FIELD(word, PORT_SLOT),
		.epoch = FIELD(word, PORT_EPOCH),
		.is_first = !is_ours(packet->mark),
	};
	bool is_inspected = false;

	if (verdict.state != PORT_HOLD && verdict.state != PORT_PATH && verdict.state != PORT_OPEN) {
		verdict.state = PORT_NONE;
		return drop(verdict, REASON_NO_WIRE);
	}
	if (!verdict.is_first) {
		if (is_entering(packet->mark))
			return drop(verdict, REASON_LOOP);
		is_inspected = (packet->mark & settings.mark_mask) == wire_mark(&verdict, direction);
		if (!is_inspected)
			return drop(verdict, REASON_STALE_MARK);
	}
	if (verdict.state == PORT_HOLD)
		return drop(verdict, REASON_HELD);
	if (direction == INGRESS && FIELD(word, PORT_AWAIT) && !is_announced(&verdict))
		return drop(verdict, REASON_AWAITING);
	if (is_inspected)
		return pass(verdict, REASON_MARKED);
	if (verdict.state == PORT_OPEN)
		return pass(verdict, REASON_OPEN);
	return onward(verdict, first_step(word, direction));
}

static __always_inline struct verdict decide_from_appliance(const struct packet *packet)
{
	__u64 word = load_word(&ports, packet->ifindex), row;
	struct verdict verdict = { .state = FIELD(word, PORT_STATE), .slot = FIELD(word, PORT_SLOT) };

	if (verdict.state != PORT_APPLIANCE) {
		verdict.state = PORT_NONE;
		return drop(verdict, REASON_NO_WIRE);
	}
	if (is_ours(packet->mark))
		return drop(verdict, REASON_LOOP);
	if (packet->lane == PROBE_LANE)
		return drop(verdict, REASON_PROBE);
	if (packet->lane >= LANES)
		return drop(verdict, REASON_UNKNOWN_LANE);
	row = load_word(&lanes, verdict.slot * LANES + packet->lane);
	if (!FIELD(row, ROW_USED))
		return drop(verdict, REASON_UNKNOWN_LANE);
	return onward(verdict, row_step(row));
}

/* The sender's address alone proves nothing: a host takes packets for any of its addresses on any interface, so a guest
 * could send in a peer's name by way of the fabric (tried). Hence the underlay's program marks what arrived by it. */
static __always_inline struct verdict decide_from_tunnel(const struct packet *packet)
{
	struct verdict verdict = {};
	bool has_arrived = (packet->mark & settings.mark_mask) == settings.mark_arrived;
	const struct step *step;
	__u64 row;

	if (!has_arrived && is_ours(packet->mark))
		return drop(verdict, REASON_LOOP);
	if (!has_arrived && FIELD(load_word(&ports, packet->ifindex), PORT_STATE) == PORT_TUNNEL)
		return drop(verdict, REASON_NOT_UNDERLAY);
	if (packet->tunnel_id >= TUNNEL_KEYS)
		return drop(verdict, REASON_UNKNOWN_KEY);
	row = load_word(&keys, packet->tunnel_id);
	if (!FIELD(row, ROW_USED))
		return drop(verdict, REASON_UNKNOWN_KEY);
	step = row_step(row);
	if (!step || step->sender != packet->sender || !packet->sender)
		return drop(verdict, REASON_UNKNOWN_PEER);
	return onward(verdict, step);
}

static __always_inline struct verdict decide_to_appliance(const struct packet *packet)
{
	__u64 word = load_word(&ports, packet->ifindex);
	struct verdict verdict = { .state = FIELD(word, PORT_STATE), .slot = FIELD(word, PORT_SLOT) };

	if (verdict.state != PORT_APPLIANCE) {
		verdict.state = PORT_NONE;
		return drop(verdict, REASON_NO_WIRE);
	}
	return is_entering(packet->mark) ? pass(verdict, REASON_OURS) : drop(verdict, REASON_NOT_OURS);
}

static __always_inline struct verdict decide_to_tunnel(const struct packet *packet)
{
	struct verdict verdict = {};

	return is_entering(packet->mark) ? pass(verdict, REASON_OURS) : drop(verdict, REASON_NOT_OURS);
}

static __always_inline struct verdict decide(const struct packet *packet)
{
	switch (packet->hook) {
	case HOOK_FROM_GUEST:
		return decide_on_vnic_port(packet, EGRESS);
	case HOOK_TO_GUEST:
		return decide_on_vnic_port(packet, INGRESS);
	case HOOK_FROM_APPLIANCE:
		return decide_from_appliance(packet);
	case HOOK_TO_APPLIANCE:
		return decide_to_appliance(packet);
	case HOOK_FROM_TUNNEL:
		return decide_from_tunnel(packet);
	default:
		return decide_to_tunnel(packet);
	}
}

#endif

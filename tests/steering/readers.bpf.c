// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reads wires as the programs do, as fast as it can, while somebody rewrites them. What must hold of each row is put
 * into it by the test: wire w (of port BASE + w, in wire slot w) only ever has paths whose id is w modulo WIRES, and
 * both steps of a path repeat its id as peer and tunnel identifier.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "act.h"

#define BASE 100
#define WIRES 32

struct findings {
	__u64 lookups;
	__u64 nothing;
	__u64 of_another;
	__u64 torn;
};

COUNTERS(findings, struct findings);

static __always_inline bool is_whole(const struct step *step)
{
	return step->tunnel_id == step->path && step->peer == step->path && step->action == ACTION_TUNNEL;
}

/* The loop's context must lie on the stack. */
static long look_up(__u32 turn, struct findings **context)
{
	struct findings *found = *context;
	__u32 wire = turn % WIRES;
	struct packet packet = { .hook = HOOK_FROM_GUEST, .ifindex = BASE + wire };
	struct verdict out = decide(&packet), in;

	packet.hook = HOOK_TO_GUEST;
	in = decide(&packet);
	found->lookups += 2;
	if (!out.step || !in.step) {
		found->nothing++;
		return 0;
	}
	if (out.slot != wire || out.step->path % WIRES != wire || in.step->path % WIRES != wire)
		found->of_another++;
	if (!is_whole(out.step) || !is_whole(in.step) || out.direction != EGRESS || in.direction != INGRESS)
		found->torn++;
	return 0;
}

SEC("tc")
int readers(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct findings *found = bpf_map_lookup_elem(&findings, &zero);

	if (found)
		bpf_loop(skb->mark, look_up, &found, 0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";

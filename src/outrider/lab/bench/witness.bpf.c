// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * When an appliance first and last received a frame on each lane, by the kernel's clock. It stands inside the appliance,
 * where what our programs believe does not matter: a frame that is here came this way.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define LANES 4096

struct visit {
	__u64 first_ns; /* 0: never, or forgotten by the reader */
	__u64 last_ns;
	__u64 frames;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LANES);
	__type(key, __u32);
	__type(value, struct visit);
} visits SEC(".maps");

SEC("tc")
int sw_witness(struct __sk_buff *skb)
{
	__u32 lane = skb->vlan_present ? skb->vlan_tci & 0xfff : 0;
	struct visit *visit = bpf_map_lookup_elem(&visits, &lane);
	__u64 now = bpf_ktime_get_ns();

	if (!visit)
		return -1;
	if (!visit->first_ns)
		visit->first_ns = now;
	visit->last_ns = now;
	visit->frames += 1;
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables. What decides is in arrays, never in hashes: an update of a hash is not atomic for its readers, who may
 * find another key's row, a torn one or none (tried: RECIPES E). A word is 64 aligned bits; a record is immutable.
 * Sizes marked 1 are set by the loader.
 */
#ifndef OUTRIDER_MAPS_H
#define OUTRIDER_MAPS_H

#include "layout.h"

#define WORDS(name)                                   \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);     \
		__uint(map_flags, BPF_F_MMAPABLE);    \
		__uint(max_entries, 1);               \
		__type(key, __u32);                   \
		__type(value, __u64);                 \
	} name SEC(".maps")

#define RECORDS(name, record)                         \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);     \
		__uint(map_flags, BPF_F_MMAPABLE);    \
		__uint(max_entries, 1);               \
		__type(key, __u32);                   \
		__type(value, record);                \
	} name SEC(".maps")

#define COUNTERS(name, record)                        \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
		__uint(max_entries, 1);               \
		__type(key, __u32);                   \
		__type(value, record);                \
	} name SEC(".maps")

WORDS(ports); /* by ifindex */
WORDS(lanes); /* by appliance port slot * LANES + VLAN id */
WORDS(keys);  /* by tunnel identifier */

RECORDS(paths, struct path);           /* by path slot */
RECORDS(steps, struct step);           /* by step slot */
RECORDS(announced, __u32);             /* by wire slot: the epoch in which the guest has sent */
RECORDS(tenancies, struct tenancy);    /* by wire slot */
RECORDS(or_identity, struct identity); /* one */

COUNTERS(wire_counters, struct wire_counts);           /* by wire slot */
COUNTERS(vsa_counters, struct appliance_counts); /* by appliance port slot */
COUNTERS(drops, struct drop_counts);                   /* one */

const volatile struct settings settings = {};

#endif

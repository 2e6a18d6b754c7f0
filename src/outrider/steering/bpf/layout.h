/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every number that the programs and the agent must agree on. The Python side (steering/layout.py) declares the same
 * and refuses an object whose BTF says otherwise, so neither file can drift alone.
 */
#ifndef OUTRIDER_LAYOUT_H
#define OUTRIDER_LAYOUT_H

#include <linux/types.h>

/* Relative to the guest. The tc hooks of a host-side port have it the other way round: what a guest sends arrives on
 * the port's tc ingress hook. */
enum direction {
	EGRESS = 0,
	INGRESS = 1,
};

/* Where a packet meets us. */
enum hook {
	HOOK_FROM_GUEST = 0,     /* tc ingress of a vnic port */
	HOOK_TO_GUEST = 1,       /* tc egress of a vnic port */
	HOOK_FROM_APPLIANCE = 2, /* tc ingress of an inport or outport */
	HOOK_TO_APPLIANCE = 3,   /* tc egress of an inport or outport */
	HOOK_FROM_TUNNEL = 4,    /* tc ingress of the tunnel device */
	HOOK_TO_TUNNEL = 5,      /* tc egress of the tunnel device */
	HOOK_FROM_UNDERLAY = 6,  /* tc ingress of the interface that carries the tunnel */
};

/* What a port is, as its word says. Zero, the value of every word nobody wrote, passes nothing. */
enum port_state {
	PORT_NONE = 0,
	PORT_HOLD = 1,
	PORT_PATH = 2,
	PORT_OPEN = 3,
	PORT_APPLIANCE = 4,
	PORT_TUNNEL = 5, /* a tunnel device whose underlay is guarded */
};

enum action {
	ACTION_DROP = 0,
	ACTION_PASS = 1,    /* on to the next program, then the stack */
	ACTION_DELIVER = 2, /* marked, to the wire's own port */
	ACTION_ENTER = 3,   /* tagged with its lane, into an appliance */
	ACTION_TUNNEL = 4,  /* to another server */
};

enum reason {
	REASON_NONE = 0,
	REASON_MARKED = 1,       /* passed: inspected, for this wire */
	REASON_OPEN = 2,         /* passed: the wire is open */
	REASON_ONWARD = 3,       /* sent one step further */
	REASON_OURS = 4,         /* passed: a frame of ours enters an appliance or the tunnel */
	REASON_NO_WIRE = 5,
	REASON_HELD = 6,
	REASON_AWAITING = 7,     /* the guest has not sent from here yet */
	REASON_STALE_MARK = 8,   /* marked for another wire, incarnation or direction */
	REASON_LOOP = 9,         /* on its way into an appliance, and here again */
	REASON_NO_STEP = 10,     /* the row names a record that is not filled */
	REASON_NOT_OURS = 11,    /* not sent by us: may enter neither appliance nor tunnel */
	REASON_UNKNOWN_LANE = 12,
	REASON_PROBE = 13,       /* a probe came out: its prover saw it before us */
	REASON_UNKNOWN_KEY = 14,
	REASON_UNKNOWN_PEER = 15,
	REASON_FAILED = 16,      /* the kernel refused a rewrite (no memory) */
	REASON_NOT_UNDERLAY = 17, /* came to the tunnel by another way than the underlay */
	REASONS = 18,
};

/* One aligned 64-bit word per interface, read once per packet: DESIGN 4.2. */
enum port_word {
	PORT_STATE_SHIFT = 0,
	PORT_STATE_BITS = 4,
	PORT_AWAIT_SHIFT = 4, /* deliver nothing to the guest before its first frame from here */
	PORT_AWAIT_BITS = 1,
	PORT_OPENED_BY_SHIFT = 5, /* why an open wire is open; for people */
	PORT_OPENED_BY_BITS = 3,
	PORT_SLOT_SHIFT = 8, /* wire slot, or appliance port slot */
	PORT_SLOT_BITS = 16,
	PORT_PATH_SHIFT = 24, /* path slot */
	PORT_PATH_BITS = 20,
	PORT_EPOCH_SHIFT = 44, /* incarnation of (wire slot, port) */
	PORT_EPOCH_BITS = 16,
};

/* One aligned 64-bit word per lane of each appliance port, and per tunnel key. */
enum row_word {
	ROW_USED_SHIFT = 0,
	ROW_USED_BITS = 4,
	ROW_STEP_SHIFT = 4, /* step slot */
	ROW_STEP_BITS = 20,
};

enum limit {
	LANES = 4096,
	TUNNEL_KEYS = 65536,
	PROBE_LANE = 4094,
	NO_LANE = 0xffff,
};

/* One thing done to a packet. Records are immutable: filled before a word names them. */
struct step {
	__u32 ifindex;   /* the port or device to leave by */
	__u32 mark;      /* deliver: what the vnic program compares with its own */
	__u32 tunnel_id; /* tunnel: identifier on the air, key * 2 + direction */
	__u32 peer;      /* tunnel: the other server, IPv4 in host order */
	__u32 sender;    /* of a tunnel key: the only peer that may use it */
	__u32 path;      /* whose step this is, for people */
	__u16 lane;      /* enter: VLAN id */
	__u8 action;
	__u8 direction;
	__u32 reserved;
};

struct path {
	struct step first[2]; /* by direction */
};

struct counter {
	__u64 frames;  /* as the wire would see them */
	__u64 bytes;   /* of the buffers, link header included */
	__u64 buffers; /* as the kernel carried them: a GSO buffer is one */
};

enum wire_count {
	FIRST_EGRESS = 0, /* each of these pairs: + direction */
	PASSED_EGRESS = 2,
	HELD_EGRESS = 4,
	OPENED_EGRESS = 6,
	STALE_MARK_EGRESS = 8,
	LOOP_EGRESS = 10,
	AWAITING_INGRESS = 12,
	WIRE_COUNTS = 13,
};

struct wire_counts {
	struct counter of[WIRE_COUNTS];
};

enum appliance_count {
	ENTERED = 0,
	LEFT = 1,
	REFUSED_IN = 2,
	REFUSED_OUT = 3,
	PROBES = 4,
	APPLIANCE_COUNTS = 5,
};

struct appliance_counts {
	struct counter of[APPLIANCE_COUNTS];
};

struct drop_counts {
	struct counter of[REASONS];
};

/* Of the agent alone: which port a wire slot belongs to. Lives in the kernel so that the next agent can read it. */
struct tenancy {
	__u32 ifindex; /* 0: nobody's */
	__u32 epoch;   /* of the current or latest tenant; never 0 once used */
};

struct identity {
	char server[64];
	__u32 layout;
	__u32 mark_mask;
};

/* Never read: it brings the enumerations into the object's BTF, where the Python side checks them. */
struct vocabulary {
	enum direction direction;
	enum hook hook;
	enum port_state port_state;
	enum action action;
	enum reason reason;
	enum port_word port_word;
	enum row_word row_word;
	enum limit limit;
	enum wire_count wire_count;
	enum appliance_count appliance_count;
};

/* Where our fields lie in skb->mark; computed from the configured mask by the loader. */
struct settings {
	__u32 mark_mask;
	__u32 mark_flag;
	__u32 mark_ingress;
	__u32 mark_entering;
	__u32 mark_arrived;
	__u32 epoch_shift;
	__u32 wire_shift;
	__u32 tunnel_port; /* UDP */
	__u32 trace[3]; /* a packet whose cb[] begins so asks, and changes nothing */
	struct vocabulary vocabulary;
};

#endif

//! Strangers that do harm, as nodes of a [`super::World`]. Each kind is one file. It does as much
//! harm as the wire format allows, and the honest nodes know nothing about it.
//!
//! An adversary gets the inputs of a machine and answers with [`Move`]s, which can do more than the
//! outputs of a machine: send parts of frames and of payloads, forge the sender of a datagram, and
//! never read. It knows all contents. Each harm to an honest node is counted under a name, so that
//! a campaign shows that each kind has acted.
//!
//! - sources, which register files and serve them badly: [`source`] and the other files with a
//!   [`source::Way`];
//! - a member of a swarm, which is a source too: [`boasting`];
//! - records that are false: [`records`];
//! - clients of a super peer: [`client`], [`idler`], [`intruder`];
//! - a neighbor of a super peer, and a sender of datagrams that is not a neighbor: [`neighbor`],
//!   [`spoofer`].

#![allow(clippy::wildcard_enum_match_arm, reason = "an adversary ignores all but a few inputs")]

mod boasting;
mod caller;
mod client;
mod dripping;
mod equivocating;
mod forging;
mod hands;
mod idler;
mod intruder;
mod lying;
mod neighbor;
mod records;
mod registered;
mod serving;
mod source;
mod spoofer;
mod stalling;
mod truncating;

pub(super) use boasting::Boasting;
pub(super) use client::{Client, Session};
pub(super) use dripping::Dripping;
pub(super) use equivocating::Equivocating;
pub(super) use forging::Forging;
pub(super) use hands::{Adversary, Hands, Move};
pub(super) use idler::Idler;
pub(super) use intruder::{Intruder, Loot};
pub(super) use lying::Lying;
pub(super) use neighbor::Neighbor;
pub(super) use records::{Holder, false_size, poisoned_path};
pub(super) use registered::Registered;
pub(super) use serving::Serving;
pub(super) use source::{Goods, Source, Way};
pub(super) use spoofer::Spoofer;
pub(super) use stalling::Stalling;
pub(super) use truncating::Truncating;

/// Every kind, with the name under which its harm is counted.
pub const KINDS: &[&str] = &[
    "lying_source",
    "stalling_source",
    "dripping_source",
    "truncating_source",
    "equivocating_source",
    "forged_manifest",
    "false_size",
    "false_holder",
    "poisoned_name",
    "lying_neighbor",
    "spoofer",
    "slow_reader",
    "flooder",
    "idler",
    "churner",
    "garbler",
    "intruder",
    "lying_member",
];

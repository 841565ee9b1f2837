//! The super peer's index: which holder has registered which files, found by name, word, root and
//! holder.
//!
//! It is inverted in both directions, so that no query walks over all peers: key (name, word or
//! root) → entries → holders, and holder → entries. If several holders have the same path, size and
//! root, this is one *entry*. The index owns only its bytes. The super peer owns sessions,
//! acknowledgements and caps, and [`super::search`] owns the matching.
//!
//! - [`Index`] is in `registry`: how holders and records come and go. `leaving`: what is removed in
//!   steps. `look`: what searches and digests read. `holder`, `arrivals`: what the index keeps
//!   about each holder, and about new entries.
//! - `entries` (with `texts`): the registered entries and their keys. `folders`: the folders of all
//!   paths, each stored once, with their words. `table`, `postings`: from a key to its entries.
//!   `slots`: tables that grow in small steps. `order`: entries by root.
//! - `check`: the invariants of the index.

mod arrivals;
mod check;
mod entries;
mod folders;
mod holder;
mod leaving;
mod look;
pub(super) mod order;
mod postings;
mod registry;
mod slots;
mod table;
mod texts;

pub(super) use entries::Key;
pub use holder::{Found, HolderId, Serves};
pub(super) use look::LiveEntry;
pub use registry::Index;

#[cfg(test)]
mod tests;

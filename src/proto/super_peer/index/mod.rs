//! The super peer's index: which holder has registered which files, found by name, word, root and
//! holder.
//!
//! It is inverted in both directions, so that no query walks over all peers: key (name, word or
//! root) → entries → holders, and holder → entries. Equal (path, size, root) of several holders are
//! one *entry*. The index owns its bytes and nothing else: sessions, acknowledgements and caps
//! belong to the super peer, and matching to [`super::search`].
//!
//! - [`Index`] in `registry`: holders and records come and go. `leaving`: what goes only in steps.
//!   `look`: what searches and digests read. `holder`, `arrivals`: what it keeps of each holder,
//!   and of what came.
//! - `entries` (with `texts`): what is registered, and its keys. `folders`: the folders of all
//!   paths, each once, with their words. `table`, `postings`: from a key to its entries. `slots`:
//!   tables that grow in small steps. `order`: entries by root.
//! - `check`: all that must hold.

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

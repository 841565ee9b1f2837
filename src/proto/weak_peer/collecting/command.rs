//! The small files of one command, apart from what they have in common with those of a collection:
//! each has holders of its own, and its end is reported. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::holder::Holder;
use crate::proto::disk::Missing;
use crate::proto::weak_peer::contact::Contact;
use crate::wire::HostPort;

/// What has become of a small file of a command.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) enum FileEnd {
    /// It was there.
    There(PathBuf),
    /// It was fetched.
    Placed(PathBuf),
    /// It is left to a download of its own.
    Left,
}

/// The files of a command.
#[derive(Default)]
pub(super) struct Command {
    /// How many it was handed.
    handed: u64,
    /// The places of the holders of each file that is not placed or left, by its number.
    holders: BTreeMap<u64, Vec<usize>>,
    /// The places of holders by their addresses.
    places: BTreeMap<HostPort, usize>,
    /// What has become of files, until it is taken.
    pub(super) ends: VecDeque<(u64, FileEnd)>,
    /// Other holders than before may be wanted.
    pub(super) turns: bool,
}

impl Command {
    /// It hands over a file with these sources, of which those that are not known become holders.
    pub(super) fn hand_over(&mut self, sources: Vec<Contact>, holders: &mut Vec<Holder>) {
        self.handed += 1;
        let places = sources.into_iter().map(|at| {
            let place = *self.places.entry(at.addr.clone()).or_insert(holders.len());
            match holders.get_mut(place) {
                Some(holder) => holder.merge(at),
                None => holders.push(Holder::new(at)),
            }
            place
        });
        let places = places.collect();
        self.holders.insert(self.handed, places);
    }

    pub(super) fn holders_of(&self, file: &Missing) -> &[usize] {
        self.holders.get(&file.number).map_or(&[], Vec::as_slice)
    }

    /// The holders that fit of the files that wait, in the order of the files.
    pub(super) fn wanted(&self, files: &VecDeque<Missing>, fits: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let holders = files.iter().flat_map(|file| self.holders_of(file)).copied();
        holders.filter(|index| fits(*index) && seen.insert(*index)).collect()
    }

    pub(super) fn end(&mut self, number: u64, end: FileEnd) {
        self.holders.remove(&number);
        self.ends.push_back((number, end));
    }
}

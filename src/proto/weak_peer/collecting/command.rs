//! The small files of one command, where they differ from those of a collection: each file has
//! holders of its own, and the end of each file is reported. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::holder::Holder;
use crate::proto::disk::Missing;
use crate::proto::weak_peer::contact::Contact;
use crate::wire::HostPort;

/// How a small file of a command has ended.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) enum FileEnd {
    /// The file was there already.
    There(PathBuf),
    /// The file was fetched and placed.
    Placed(PathBuf),
    /// The file needs a download of its own.
    Left,
}

/// The files of a command.
#[derive(Default)]
pub(super) struct Command {
    /// How many files the command has handed over.
    handed: u64,
    /// The places of the holders of each file that has not ended, by the number of the file.
    holders: BTreeMap<u64, Vec<usize>>,
    /// The place of each holder, by its address.
    places: BTreeMap<HostPort, usize>,
    /// Files that have ended, until they are reported.
    pub(super) ends: VecDeque<(u64, FileEnd)>,
    /// Whether other holders may be needed than before.
    pub(super) turns: bool,
}

impl Command {
    /// The command hands over a file with these sources. Sources that are new become holders.
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

    /// The holders of the waiting files for which `fits` is true, in the order of the files.
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

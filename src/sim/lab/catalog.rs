//! The files of a laboratory: their names, their holders, and the choice of the files that are
//! searched for.
//!
//! Holders and searches follow Zipf's law over the same ranks: the file of rank r is drawn with a
//! weight of r^−s. A file is only a number. Its name, size and root are computed from the number
//! each time.

use crate::sim::random::Random;
use crate::wire::ids::Root;
use crate::wire::{FileRecord, QueryKind, Search, SharePath};

/// How often a file is drawn that the peer does not have yet. After that, the peer gets the next
/// file by rank.
const TRIES: usize = 64;

/// Draws ranks.
#[derive(Debug)]
pub(super) struct Zipf {
    /// For each rank, the sum of the weights up to it.
    sums: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(ranks: usize, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=ranks).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Zipf { sums: weights.collect() }
    }

    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let all = self.sums.last().copied().unwrap_or(0.0);
        let at = random.share() * all;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

/// Which peers hold which files.
#[derive(Debug)]
pub(super) struct Catalog {
    files_each: usize,
    /// The files of each peer, one peer after the other.
    held: Vec<u32>,
    /// The holders of file `f` are those from `starts[f]` to `starts[f + 1]`.
    holders: Vec<u32>,
    starts: Vec<u32>,
}

impl Catalog {
    /// Every peer draws `files_each` different files.
    pub(super) fn new(peers: usize, files: usize, files_each: usize, zipf: &Zipf, random: &mut Random) -> Catalog {
        let mut held: Vec<u32> = Vec::with_capacity(peers * files_each);
        for _ in 0..peers {
            let first = held.len();
            for _ in 0..files_each {
                let mut file = zipf.draw(random);
                let mut tries = 0;
                while held[first..].contains(&(file as u32)) {
                    tries += 1;
                    file = if tries < TRIES { zipf.draw(random) } else { (file + 1) % files };
                }
                held.push(file as u32);
            }
        }
        let mut starts = vec![0_u32; files + 1];
        held.iter().for_each(|file| starts[*file as usize + 1] += 1);
        for file in 0..files {
            starts[file + 1] += starts[file];
        }
        let mut next = starts.clone();
        let mut holders = vec![0_u32; held.len()];
        for (at, file) in held.iter().enumerate() {
            let place = &mut next[*file as usize];
            holders[*place as usize] = (at / files_each) as u32;
            *place += 1;
        }
        Catalog { files_each, held, holders, starts }
    }

    /// The files that a peer shares.
    pub(super) fn held_by(&self, peer: usize) -> &[u32] {
        &self.held[peer * self.files_each..(peer + 1) * self.files_each]
    }

    /// The peers that share a file, in ascending order.
    pub(super) fn holders_of(&self, file: u32) -> &[u32] {
        &self.holders[self.starts[file as usize] as usize..self.starts[file as usize + 1] as usize]
    }

    /// The number of files that some peer holds.
    pub(super) fn files_held(&self) -> usize {
        self.starts.windows(2).filter(|pair| pair[0] < pair[1]).count()
    }
}

fn name(file: u32) -> String {
    format!("song {file:07}.ogg")
}

/// The record of a file. It is the same at every holder.
pub(super) fn record(file: u32) -> FileRecord {
    let mut root = [0; 32];
    let mut random = Random::new(u64::from(file)).child("root", 0);
    for part in root.chunks_mut(8) {
        part.copy_from_slice(&crate::proto::Entropy::next_u64(&mut random).to_le_bytes());
    }
    let size = 1_000_000 + random.below(8_000_000);
    FileRecord { path: SharePath::new(&name(file)).expect("a short path"), size, root: Root(root), collection: false }
}

/// A search for a file by its words.
pub(super) fn search(file: u32, limit: u32) -> Search {
    let pattern = format!("song {file:07}");
    Search { limit: Some(limit), ..Search::new(pattern, QueryKind::Words) }
}

/// The file with a path; none if the path is not one of a laboratory.
pub(super) fn file_of(path: &str) -> Option<u32> {
    path.strip_prefix("song ")?.strip_suffix(".ogg")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_hold_and_who_holds_it_are_the_same() {
        let mut random = Random::new(1);
        let zipf = Zipf::new(50, 1.0);
        let catalog = Catalog::new(200, 50, 5, &zipf, &mut random);
        let mut pairs = 0;
        for file in 0..50 {
            for &holder in catalog.holders_of(file) {
                assert!(catalog.held_by(holder as usize).contains(&file));
                pairs += 1;
            }
        }
        assert_eq!(pairs, 1000);
        for peer in 0..200 {
            let mut files = catalog.held_by(peer).to_vec();
            files.sort_unstable();
            files.dedup();
            assert_eq!(files.len(), 5, "each file once");
        }
        assert!(catalog.holders_of(0).len() > 3 * catalog.holders_of(40).len(), "the first rank is the most popular");
        assert!(catalog.files_held() <= 50);
    }

    #[test]
    fn an_exponent_of_0_is_no_preference() {
        let zipf = Zipf::new(4, 0.0);
        let mut random = Random::new(1);
        let mut seen = [0; 4];
        (0..4000).for_each(|_| seen[zipf.draw(&mut random)] += 1);
        assert!(seen.iter().all(|&n| (900..1100).contains(&n)), "{seen:?}");
    }

    #[test]
    fn a_path_identifies_its_file() {
        assert_eq!(file_of(record(42).path.as_str()), Some(42));
        assert_eq!(file_of("song.ogg"), None);
    }
}

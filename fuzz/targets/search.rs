//! Records with any names are registered and removed, and searched in slices. Every hit is
//! registered and matches, however the search is sliced, and an exact name is always found.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sprat::proto::super_peer::index::Index;
use sprat::proto::super_peer::search::{Scan, Step};
use sprat::wire::record::name_of;
use sprat::wire::{FileRecord, HostPort, NodeId, QueryKind, Root, Search, SharePath};
use sprat_fuzz::Dice;

fn hits(index: &Index, search: &Search, entries: usize) -> Option<Vec<(String, HostPort)>> {
    let mut scan = Scan::new(index, search).ok()?;
    let mut hits = Vec::new();
    while scan.step(index, entries, &mut hits) == Step::More {}
    Some(hits.into_iter().map(|hit| (hit.path.as_str().to_owned(), hit.addr)).collect())
}

fuzz_target!(|data: &[u8]| {
    let dice = &mut Dice::new(data);
    let mut index = Index::with_seed(dice.any());
    let addr = |n: usize| HostPort::new("192.0.2.1", n as u16).expect("an address");
    let mut holders: Vec<_> = (0..3).map(|n| index.add_holder(addr(n), NodeId([1; 16]))).collect();
    let mut held: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut paths: Vec<String> = vec!["a".into()];
    for _ in 0..200 {
        if dice.is_spent() {
            break;
        }
        let who = dice.below(3);
        let path = match dice.below(3) {
            0 => String::from_utf8_lossy(dice.bytes(48)).into_owned(),
            _ => paths[dice.below(paths.len())].clone(),
        };
        let Some(share) = SharePath::new(&path) else { continue };
        match dice.below(8) {
            0 => {
                holders[who] = index.renew_holder(holders[who], addr(who));
                held.retain(|(holder, _)| *holder != who);
            }
            1 => assert_eq!(index.remove(holders[who], &path), held.remove(&(who, path))),
            2 => while index.tidy(dice.below(64) + 1) {},
            3 | 4 => {
                let kind = dice.pick(&[
                    QueryKind::Words,
                    QueryKind::Exact,
                    QueryKind::Glob,
                    QueryKind::Root,
                    QueryKind::Range,
                    QueryKind::Path,
                    QueryKind::Below,
                ]);
                let within = dice.one_in(4).then(|| dice.pick(&["-", "-80", "80-"]).into());
                let paged = within.is_some();
                let search = Search { pattern: path, kind, min: None, max: None, limit: None, within, partial: false, user: None };
                let Some(found) = hits(&index, &search, 1000) else { continue };
                assert_eq!(
                    Some(&found),
                    hits(&index, &search, dice.below(5) + 1).as_ref(),
                    "the slices change nothing"
                );
                let unique: BTreeSet<_> = found.iter().cloned().collect();
                assert_eq!(unique.len(), found.len(), "every hit is returned once");
                let all: BTreeSet<_> = held.iter().map(|(who, path)| (path.clone(), addr(*who))).collect();
                assert!(unique.is_subset(&all), "only registered records are returned");
                let same = |(path, _): &&(String, HostPort)| name_of(path) == search.pattern;
                let itself = |(path, _): &&(String, HostPort)| *path == search.pattern;
                let below = |(path, _): &&(String, HostPort)| path.starts_with(&format!("{}/", search.pattern));
                match kind {
                    _ if paged => {}
                    QueryKind::Exact => assert!(all.iter().filter(same).eq(unique.iter())),
                    QueryKind::Words | QueryKind::Glob | QueryKind::Path => {
                        assert!(all.iter().filter(same).all(|hit| unique.contains(hit)));
                        assert!(all.iter().filter(itself).all(|hit| unique.contains(hit)), "a path finds itself");
                    }
                    QueryKind::Below => assert!(all.iter().filter(below).all(|hit| unique.contains(hit))),
                    QueryKind::Root | QueryKind::Range | QueryKind::Unknown => {}
                }
            }
            _ => {
                index.insert(
                    holders[who],
                    FileRecord { path: share, size: dice.any(), root: Root([dice.any(); 32]), collection: false },
                );
                held.insert((who, path.clone()));
                paths.push(path);
            }
        }
        index.check_invariants();
        assert_eq!(index.records(), held.len());
    }
});

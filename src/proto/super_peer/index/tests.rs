//! Compares the index with a naive model, and tests single behaviors.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::TIDY_STEPS_PER_TURN;
use crate::wire::message::SourceRecord;
use crate::wire::{FileRecord, HostPort, NodeId, Root, SharePath};

fn addr(n: u32) -> HostPort {
    HostPort::new("192.0.2.1", u16::try_from(n).unwrap()).unwrap()
}

fn record(path: &str, size: u64, root: u8) -> FileRecord {
    FileRecord { path: SharePath::new(path).unwrap(), size, root: Root([root; 32]), collection: false }
}

fn listed(index: &Index, page_bytes: usize) -> Vec<(String, u64, Root, u32)> {
    let mut all = Vec::new();
    let mut after = Some(0);
    while let Some(cursor) = after {
        let (page, next) = index.list(cursor, page_bytes, &mut 0);
        all.extend(page.into_iter().map(|file| (file.path.as_str().to_owned(), file.size, file.root, file.holders)));
        after = next;
    }
    all.sort();
    all
}

#[test]
fn equal_files_of_two_holders_are_listed_once() {
    let mut index = Index::new();
    let (a, b) = (index.add_holder(addr(1), NodeId([1; 16])), index.add_holder(addr(2), NodeId([1; 16])));
    index.insert(a, record("x/f", 1, 1));
    index.insert(b, record("x/f", 1, 1));
    index.insert(b, record("f", 1, 1));
    assert_eq!((index.records(), index.files_of(a), index.files_of(b), index.holders()), (3, 1, 2, 2));
    assert_eq!(listed(&index, 1), [("f".into(), 1, Root([1; 32]), 1), ("x/f".into(), 1, Root([1; 32]), 2)]);
    index.check_invariants();
}

#[test]
fn lists_that_are_replaced_again_and_again_leave_nothing_behind() {
    for files in [0, 1] {
        let mut index = Index::new();
        let mut holder = index.add_holder(addr(1), NodeId([1; 16]));
        for n in 0..1000 {
            holder = index.renew_holder(holder, addr(n % 7));
            (0..files).for_each(|_| index.insert(holder, record("f", 1, 1)));
        }
        assert!(index.holders.len() <= 3 && index.leaving.len() <= 2, "{files}: {:?}", index.leaving.len());
        index.check_invariants();
        index.tidy(10);
        assert!(!index.is_untidy());
        index.check_invariants();
    }
}

#[test]
fn hits_that_differ_in_one_field_have_different_keys() {
    let index = Index::new();
    let hit = |path, size, root, n| {
        let FileRecord { path, size, root, .. } = record(path, size, root);
        index.hit_key(&SourceRecord {
            path,
            size,
            root,
            addr: addr(n),
            collection: false,
            node: None,
            other: None,
            unreached: false,
            http: false,
            member: None,
        })
    };
    let keys = [hit("a", 1, 1, 1), hit("b", 1, 1, 1), hit("a", 2, 1, 1), hit("a", 1, 2, 1), hit("a", 1, 1, 2)];
    assert_eq!(BTreeSet::from(keys).len(), keys.len());
    assert_eq!(keys[0], hit("a", 1, 1, 1));
}

#[test]
fn the_texts_of_folders_count_as_memory() {
    // Each folder is one word, so that the two indexes differ only in the length of the texts.
    let with = |length: usize| {
        let mut index = Index::new();
        let holder = index.add_holder(addr(1), NodeId([1; 16]));
        (0..1000).for_each(|n| index.insert(holder, record(&format!("{n:a>length$}/f"), 1, 1)));
        index
    };
    let (short, mut long) = (with(10), with(600));
    assert!(long.bytes() - short.bytes() > 550_000, "{} and {}", long.bytes(), short.bytes());
    long.check_invariants();
    (0..999).for_each(|n| assert!(long.remove(HolderId(0), &format!("{n:a>600}/f"))));
    while long.is_untidy() {
        long.tidy(1000);
    }
    long.check_invariants();
    assert!(long.bytes() < short.bytes(), "the texts are gone with their folders");
}

#[test]
fn a_path_is_replaced_and_removed() {
    let mut index = Index::new();
    let a = index.add_holder(addr(1), NodeId([1; 16]));
    index.insert(a, record("f", 1, 1));
    index.insert(a, record("f", 2, 2));
    assert_eq!(listed(&index, 1000), [("f".into(), 2, Root([2; 32]), 1)]);
    assert!(index.remove(a, "f"));
    assert!(!index.remove(a, "f"));
    assert_eq!(index.records(), 0);
    index.check_invariants();
}

#[test]
fn a_removed_holder_leaves_nothing_behind() {
    let mut index = Index::new();
    let (a, b) = (index.add_holder(addr(1), NodeId([1; 16])), index.add_holder(addr(2), NodeId([1; 16])));
    for n in 0..1000 {
        index.insert(a, record(&format!("common word {n}"), n, 1));
        index.insert(b, record(&format!("common word {}", n * 2), n * 2, 1));
    }
    index.remove_holder(a);
    assert_eq!((index.records(), index.holders()), (1000, 1));
    assert_eq!(listed(&index, 1000).len(), 1000, "what has gone is not listed");
    index.check_invariants();
    index.remove_holder(b);
    while index.tidy(10) {}
    assert_eq!((index.records(), index.holders(), listed(&index, 1000)), (0, 0, vec![]));
    assert_eq!(index.keys.len(), 0);
    assert_eq!(index.entries.len(), 0);
    index.check_invariants();
}

#[test]
fn a_holder_with_many_files_comes_and_goes() {
    const FILES: u32 = 20_000;
    let mut index = Index::new();
    let root_of =
        |n: u32| if n < 300 { Root([7; 32]) } else { Root([n.to_be_bytes(); 8].concat().try_into().unwrap()) };
    let register = |index: &mut Index, holder| {
        for n in 0..FILES {
            let path = SharePath::new(&format!("word {}/name {n}", n % 7)).unwrap();
            index.insert(holder, FileRecord { path, size: 1, root: root_of(n), collection: false });
        }
    };
    for _ in 0..2 {
        let holder = index.add_holder(addr(1), NodeId([1; 16]));
        register(&mut index, holder);
        assert_eq!(index.records(), FILES as usize);
        index.check_invariants();
        // If another holder registers the same files, no new entry is made.
        let other = index.add_holder(addr(2), NodeId([1; 16]));
        register(&mut index, other);
        assert_eq!((index.records(), index.entries.len()), (2 * FILES as usize, FILES as usize));
        index.remove_holder(holder);
        index.remove_holder(other);
        while index.tidy(10) {}
        assert_eq!(index.keys.len(), 0);
        index.check_invariants();
    }
}

#[test]
fn a_slot_of_a_holder_is_used_again() {
    let mut index = Index::new();
    let a = index.add_holder(addr(1), NodeId([1; 16]));
    index.insert(a, record("f", 1, 1));
    index.remove_holder(a);
    assert_ne!(index.add_holder(addr(2), NodeId([1; 16])), a, "an entry still names it");
    while index.tidy(1) {}
    let b = index.add_holder(addr(3), NodeId([1; 16]));
    assert_eq!(b, a);
    assert_eq!(index.files_of(b), 0);
}

#[test]
fn it_agrees_with_a_naive_model() {
    for seed in 0..20 {
        let changes = against_the_model(seed);
        assert!(changes > 1000, "the run did something");
    }
}

/// Applies the same random changes to the index and to a plain map. Returns the number of changes.
fn against_the_model(seed: u64) -> usize {
    let mut state = seed;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut index = Index::with_seed(seed);
    let mut model: BTreeMap<HolderId, BTreeMap<String, (u64, u8)>> = BTreeMap::new();
    let mut changes = 0;
    for round in 0..3000_u32 {
        let holders: Vec<HolderId> = model.keys().copied().collect();
        let holder = holders.get(usize::try_from(below(holders.len().max(1) as u64)).unwrap()).copied();
        let path = format!("{}/word{} word{}", below(2), below(12), below(6));
        match (below(100), holder) {
            (0..5, _) | (_, None) => {
                if model.len() < 8 {
                    assert!(
                        model.insert(index.add_holder(addr(round + 1), NodeId([1; 16])), BTreeMap::new()).is_none()
                    );
                }
            }
            (5..7, Some(holder)) => {
                index.remove_holder(holder);
                model.remove(&holder);
            }
            (7, Some(holder)) => {
                model.remove(&holder);
                assert!(model.insert(index.renew_holder(holder, addr(round + 1)), BTreeMap::new()).is_none());
            }
            (8..30, Some(holder)) => {
                let there = model.get_mut(&holder).unwrap().remove(&path).is_some();
                assert_eq!(index.remove(holder, &path), there);
                changes += usize::from(there);
            }
            (_, Some(holder)) => {
                // Most files have the same root. So its list becomes large, and entries must be
                // distinguished.
                let (size, root) = (below(2), u8::try_from(below(8).saturating_sub(5)).unwrap());
                index.insert(holder, record(&path, size, root));
                model.get_mut(&holder).unwrap().insert(path, (size, root));
                changes += 1;
            }
        }
        if below(4) == 0 {
            index.tidy(usize::try_from(below(30)).unwrap());
        }
        if below(3) == 0 {
            index.order(usize::try_from(below(20)).unwrap());
        } else if below(400) == 0 {
            index.forget_order();
        }
        if round % 50 == 0 {
            index.check_invariants();
            let mut expected: BTreeMap<(String, u64, Root), u32> = BTreeMap::new();
            for (path, (size, root)) in model.values().flatten() {
                *expected.entry((path.clone(), *size, Root([*root; 32]))).or_default() += 1;
            }
            let expected: Vec<_> = expected.into_iter().map(|((p, s, r), holders)| (p, s, r, holders)).collect();
            assert_eq!(listed(&index, 500), expected);
            assert_eq!(index.records(), model.values().map(BTreeMap::len).sum::<usize>());
        }
    }
    changes
}

#[test]
fn a_peer_of_this_machine_is_found_where_the_super_peer_is() {
    let parse = |addr: &str| addr.parse::<HostPort>().unwrap();
    let serves = |addr, other: Option<&str>, seen| Serves::new(parse(addr), other.map(parse), seen, false);
    let found = |serves: &Serves, at: Option<&str>| {
        let Found { addr, other, out_of_reach } = serves.found_from(at.map(|at| at.parse().unwrap()));
        (addr.to_string(), other.map(|other| other.to_string()), out_of_reach)
    };
    let as_is = |addr: &str| (addr.to_owned(), None, false);
    let v6 = "[2001:db8::1]:5";
    let far = serves("192.0.2.7:5", None, true);
    assert_eq!(found(&far, Some("192.0.2.1")), as_is("192.0.2.7:5"));
    let near = serves("127.0.0.1:5", None, true);
    assert_eq!(found(&near, Some("127.0.0.1")), as_is("127.0.0.1:5"));
    assert_eq!(found(&near, Some("192.0.2.1")), as_is("192.0.2.1:5"));
    assert_eq!(found(&near, Some("2001:db8::1")), ("127.0.0.1:5".into(), None, true), "it listens at IPv4 only");
    assert_eq!(found(&near, None), ("127.0.0.1:5".into(), None, true));
    let both = serves("127.0.0.1:5", Some(v6), true);
    assert_eq!(found(&both, Some("192.0.2.1")), ("192.0.2.1:5".into(), Some(v6.into()), false));
    assert_eq!(found(&both, Some("2001:db8::2")), as_is("[2001:db8::2]:5"));
    assert_eq!(found(&both, Some("fe80::2")), as_is(v6), "a link-local address says nothing to others");
    assert_eq!(found(&both, None), as_is(v6));
    let named = serves("127.0.0.1:5", None, false);
    assert_eq!(found(&named, Some("192.0.2.1")), ("127.0.0.1:5".into(), None, true), "it listens nowhere else");
}

#[test]
fn names_of_many_words_leave_in_more_slices() {
    let slices_of = |words: usize| {
        let mut index = Index::new();
        let holder = index.add_holder(addr(1), NodeId([1; 16]));
        for n in 0..200 {
            let name: Vec<String> = (0..words).map(|word| format!("{}", (n + word) % 10)).collect();
            index.insert(holder, record(&format!("{n}/{}", name.join(" ")), 1, 1));
        }
        index.remove_holder(holder);
        let (mut slices, mut steps) = (0, index.steps());
        while index.tidy(TIDY_STEPS_PER_TURN) {
            slices += 1;
            let done = index.steps() - steps;
            assert!(done < TIDY_STEPS_PER_TURN as u64 + 32, "{done} steps");
            steps = index.steps();
        }
        index.check_invariants();
        slices
    };
    let (few, many) = (slices_of(3), slices_of(120));
    assert!(few <= 2 && many > 3 * few.max(2), "{few} and {many} slices");
}

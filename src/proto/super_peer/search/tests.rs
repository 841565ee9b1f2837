//! Searches: what each kind finds, and how a scan behaves while the index changes.

use std::collections::BTreeSet;

use super::fit::{FOLDED_BYTES, TEXT_WORK};
use super::*;
use crate::config::ROOT_HITS_PER_HOLDER;
use crate::proto::super_peer::index::HolderId;
use crate::wire::{FileRecord, HostPort, NodeId, QueryKind, Root, SharePath};

fn addr(n: u16) -> HostPort {
    HostPort::new("192.0.2.1", n).unwrap()
}

fn root(n: u64) -> Root {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&n.to_be_bytes());
    Root(root)
}

fn record(path: &str, size: u64) -> FileRecord {
    FileRecord { path: SharePath::new(path).unwrap(), size, root: root(size), collection: false }
}

fn search(kind: QueryKind, pattern: &str) -> Search {
    Search::new(pattern, kind)
}

/// An index with one holder of these files. The size of each file is its place in the list.
pub(super) fn index_of(paths: &[&str]) -> (Index, HolderId) {
    let mut index = Index::new();
    let holder = index.add_holder(addr(1), NodeId([1; 16]));
    for (size, path) in (0..).zip(paths) {
        index.insert(holder, record(path, size));
    }
    (index, holder)
}

/// All hits, and whether the limit cut some.
fn run(index: &Index, search: &Search) -> (Vec<String>, bool) {
    let mut scan = Scan::new(index, search).unwrap();
    let mut hits = Vec::new();
    loop {
        match scan.step(index, 3, &mut hits) {
            Step::More => {}
            Step::End { capped } => return (hits.iter().map(|hit| hit.path.as_str().to_owned()).collect(), capped),
        }
    }
}

pub(super) fn found(index: &Index, kind: QueryKind, pattern: &str) -> Vec<String> {
    let (hits, capped) = run(index, &search(kind, pattern));
    assert!(!capped);
    hits
}

const TRAINS: [&str; 6] =
    ["a/Blue Train.flac", "blue train", "b/train-BLUE 2.mp3", "bluetrain", "Blue Train", "x/blue/train.mp3"];

#[test]
fn words_come_in_any_order_and_case_and_the_exact_name_first() {
    let (index, _) = index_of(&TRAINS);
    assert_eq!(
        found(&index, QueryKind::Words, "Blue Train"),
        ["Blue Train", "blue train", "a/Blue Train.flac", "b/train-BLUE 2.mp3", "x/blue/train.mp3"]
    );
    assert_eq!(found(&index, QueryKind::Words, "train blue train 2"), ["b/train-BLUE 2.mp3"]);
    assert!(found(&index, QueryKind::Words, "blue nowhere").is_empty());
}

#[test]
fn a_pattern_without_a_word_fits_only_its_own_name() {
    let (index, _) = index_of(&["---", "a/---", "--", "a"]);
    assert_eq!(found(&index, QueryKind::Words, "---"), ["---", "a/---"]);
}

#[test]
fn exact_is_byte_for_byte() {
    let (index, _) = index_of(&TRAINS);
    assert_eq!(found(&index, QueryKind::Exact, "Blue Train"), ["Blue Train"]);
    assert_eq!(found(&index, QueryKind::Exact, "train.mp3"), ["x/blue/train.mp3"]);
}

#[test]
fn a_glob_fits_the_whole_name_in_any_case() {
    let (index, _) = index_of(&TRAINS);
    assert_eq!(found(&index, QueryKind::Glob, "*TRAIN*.mp3"), ["b/train-BLUE 2.mp3", "x/blue/train.mp3"]);
}

#[test]
fn a_root_finds_every_name_of_its_content() {
    let mut index = Index::new();
    let holder = index.add_holder(addr(1), NodeId([1; 16]));
    index.insert(holder, record("a", 7));
    index.insert(holder, record("b", 7));
    index.insert(holder, record("c", 8));
    assert_eq!(found(&index, QueryKind::Root, &root(7).to_string()), ["a", "b"]);
}

/// An index with one holder that has a content under this many paths, and a later holder that has
/// it under one path.
fn crowded(paths: usize) -> Index {
    let mut index = Index::new();
    let (first, later) = (index.add_holder(addr(1), NodeId([1; 16])), index.add_holder(addr(2), NodeId([2; 16])));
    for n in 0..paths {
        index.insert(first, record(&format!("x/{n}"), 7));
    }
    index.insert(later, record("one", 7));
    index
}

#[test]
fn a_holder_with_very_many_paths_of_a_root_hides_no_other_holder() {
    let index = crowded(QUERY_HITS_MAX + 1);
    assert_eq!(found(&index, QueryKind::Root, &root(7).to_string()), ["x/0", "x/1", "x/2", "x/3", "one"]);
}

#[test]
fn a_page_of_a_root_has_every_path() {
    let index = crowded(10);
    let paged = Search { within: Some("-".into()), ..search(QueryKind::Root, &root(7).to_string()) };
    let (hits, capped) = run(&index, &paged);
    assert_eq!((hits.len(), capped), (11, false));
}

#[test]
fn files_named_like_a_root_that_are_left_out_are_a_cut() {
    let mut index = crowded(1);
    let holder = index.add_holder(addr(3), NodeId([3; 16]));
    for n in 0..5 {
        index.insert(holder, record(&format!("{n}/{}", root(7)), 8));
    }
    let (hits, capped) = run(&index, &search(QueryKind::Root, &root(7).to_string()));
    assert_eq!((hits.len(), capped), (6, true));
}

#[test]
fn sizes_bound_what_is_found() {
    let (index, _) = index_of(&["f 0", "f 1", "f 2", "f 3"]);
    let search = Search { min: Some(1), max: Some(2), ..search(QueryKind::Words, "f") };
    assert_eq!(run(&index, &search), (vec!["f 1".into(), "f 2".into()], false));
}

#[test]
fn a_limit_bites_only_if_there_is_more() {
    let (index, _) = index_of(&["f 0", "f 1", "f 2"]);
    let limited = |limit| Search { limit: Some(limit), ..search(QueryKind::Words, "f") };
    let (hits, capped) = run(&index, &limited(2));
    assert_eq!((hits.len(), capped), (2, true));
    let (hits, capped) = run(&index, &limited(3));
    assert_eq!((hits.len(), capped), (3, false));
}

#[test]
fn a_pattern_that_makes_no_sense_is_refused_with_the_right_form() {
    let index = Index::new();
    for (search, form) in [
        (search(QueryKind::Root, "beef"), "64 hex digits"),
        (search(QueryKind::Range, "x"), "LOW-HIGH"),
        (Search { within: Some("8".into()), ..search(QueryKind::Words, "x") }, "LOW-HIGH"),
        (search(QueryKind::Below, "/"), "no folder"),
        (search(QueryKind::Words, &('\u{3300}'..='\u{3354}').collect::<String>()), "at most 128 words"),
        (search(QueryKind::Words, ""), "1 to 256 bytes"),
        (search(QueryKind::Words, &"x".repeat(257)), "1 to 256 bytes"),
        (Search { min: Some(2), max: Some(1), ..search(QueryKind::Words, "x") }, "at least 2"),
        (search(QueryKind::Unknown, "x"), "words, exact, glob, root, range, path and below"),
    ] {
        let why = Scan::new(&index, &search).unwrap_err().to_string();
        assert!(why.contains(form), "{why}");
    }
}

#[test]
fn the_smallest_step_comes_to_an_end() {
    let (mut index, _) = index_of(&["a", "b"]);
    let other = index.add_holder(addr(2), NodeId([1; 16]));
    index.insert(other, record("a", 0));
    let mut scan = Scan::new(&index, &search(QueryKind::Exact, "a")).unwrap();
    let mut hits = Vec::new();
    let steps = std::iter::repeat_with(|| scan.step(&index, 1, &mut hits)).take(9).filter(|step| *step == Step::More);
    assert!(steps.count() < 9, "a step of one look stays where it is");
    assert_eq!(hits.len(), 2);
}

#[test]
fn a_step_looks_at_no_more_than_it_may() {
    let (index, _) = index_of(&["f 0", "f 1", "f 2", "f 3", "f 4"]);
    let mut scan = Scan::new(&index, &search(QueryKind::Glob, "nothing")).unwrap();
    let steps = std::iter::repeat_with(|| scan.step(&index, 2, &mut Vec::new())).position(|step| step != Step::More);
    assert_eq!(steps, Some(2));
}

#[test]
fn names_and_hits_count_for_more_than_looks() {
    let (index, _) = index_of(&["f 0", "f 1", "f 2", "f 3", "f 4", "f 5", "f 6", "f 7"]);
    // The number of looks in a first step with this much work.
    let looked = |kind, pattern: &str, work| {
        let mut scan = Scan::new(&index, &search(kind, pattern)).unwrap();
        scan.step(&index, work, &mut Vec::new());
        assert!(scan.spent() >= scan.looked());
        scan.looked()
    };
    assert_eq!(looked(QueryKind::Range, "ff-", 6), 6, "roots are compared as they lie there");
    assert_eq!(looked(QueryKind::Glob, "nothing", 6 * (1 + TEXT_WORK)), 6);
    assert_eq!(looked(QueryKind::Glob, "f *", 2 * (2 + TEXT_WORK + HIT_WORK)), 4, "two entries, two holders");
    let hostile = format!("{}x", "*[!A-Z]".repeat(36));
    assert_eq!(looked(QueryKind::Glob, &hostile, 3 * (1 + TEXT_WORK)), 3);
    let name = "a".repeat(200);
    let (index, _) = index_of(&[&name, &format!("{name}a"), &format!("{name}b"), &format!("{name}c")]);
    let mut scan = Scan::new(&index, &search(QueryKind::Glob, &hostile)).unwrap();
    assert_eq!(scan.step(&index, 3 * (1 + TEXT_WORK), &mut Vec::new()), Step::More);
    assert_eq!(scan.looked(), 2, "a glob that goes back and forth is paid for");
}

#[test]
fn of_two_frequent_words_only_what_has_both_is_compared() {
    let (mut index, holder) = index_of(&[]);
    let names: Vec<String> = (0..3000).map(|n| format!("a{} b{} {n}", n % 3, n / 100 % 5)).collect();
    names.iter().zip(0..).for_each(|(name, size)| index.insert(holder, record(name, size)));
    let mut hits = Vec::new();
    let mut scan = Scan::new(&index, &search(QueryKind::Words, "b4 a1")).unwrap();
    while scan.step(&index, 100_000, &mut hits) == Step::More {}
    let wanted = names.iter().filter(|name| name.starts_with("a1 b4 "));
    assert!(hits.iter().map(|hit| hit.path.as_str()).eq(wanted.map(String::as_str)));
    // 600 files have b4, which is the rarer word in names. One in three of these has the other
    // word. From each hit, the scan goes directly to the next one.
    let hits = hits.len();
    let looks = scan.looked() - hits;
    assert!(hits == 200 && looks <= 2 * hits + 5, "{hits} {looks}");
    assert_eq!(scan.spent(), scan.looked() + looks + hits * (TEXT_WORK + HIT_WORK));
}

#[test]
fn a_page_looks_at_its_part_of_an_ordered_index() {
    let mut index = Index::new();
    let holder = index.add_holder(addr(1), NodeId([1; 16]));
    let content = |n: u32| Root(*blake3::hash(&n.to_be_bytes()).as_bytes());
    for n in 0..4096_u32 {
        let path = SharePath::new(&format!("d/{n}")).unwrap();
        index.insert(holder, FileRecord { path, size: 1, root: content(n), collection: false });
    }
    let page = |index: &Index| {
        let mut scan = Scan::new(index, &search(QueryKind::Range, "40-44")).unwrap();
        let mut hits = Vec::new();
        while scan.step(index, 1024, &mut hits) == Step::More {}
        let roots: BTreeSet<_> = hits.into_iter().map(|hit| hit.root.to_string()).collect();
        (roots, scan.looked())
    };
    let (found, walked) = page(&index);
    while index.order(1000) {
        assert_eq!(page(&index).0, found, "half an order is none");
    }
    let (again, looked) = page(&index);
    assert_eq!(again, found);
    assert_eq!(walked, 4096 + found.len());
    assert!((32..128).contains(&found.len()) && looked <= 3 * found.len(), "{looked} looks for {}", found.len());
}

#[test]
fn holders_that_are_gone_are_passed_over_in_steps() {
    let mut index = Index::new();
    let holders: Vec<HolderId> = (1..=3000).map(|n| index.add_holder(addr(n), NodeId([1; 16]))).collect();
    holders.iter().for_each(|holder| index.insert(*holder, record("a", 1)));
    holders[..2999].iter().for_each(|holder| index.remove_holder(*holder));
    let mut scan = Scan::new(&index, &search(QueryKind::Exact, "a")).unwrap();
    let (mut hits, mut steps) = (Vec::new(), 1);
    while scan.step(&index, 100, &mut hits) == Step::More {
        steps += 1;
    }
    let addrs: Vec<u16> = hits.iter().map(|hit| hit.addr.port()).collect();
    assert_eq!(addrs, [3000]);
    assert!(steps >= 10 && index.is_untidy(), "{steps} steps");
}

/// The meaning of a search, written naively a second time.
fn fits(search: &Search, path: &str, record_root: Root) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap();
    match search.kind {
        QueryKind::Exact => name == search.pattern,
        QueryKind::Root => record_root.to_string() == search.pattern,
        QueryKind::Glob => {
            let (head, tail) = search.pattern.split_once('*').unwrap();
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
        QueryKind::Words => {
            let there: Vec<&str> = path.split([' ', '/']).collect();
            search.pattern.split(' ').all(|word| there.contains(&word))
        }
        QueryKind::Range => format!("{}-{}", &record_root.to_string()[..2], "02") == search.pattern,
        QueryKind::Path => path == search.pattern || name == search.pattern,
        QueryKind::Below => folder == search.pattern,
        QueryKind::Unknown => false,
    }
}

#[test]
fn a_scan_amid_changes_reports_what_stayed_and_nothing_that_is_gone() {
    let (mut stayed, mut vanished) = (0, 0);
    for seed in 0..300_u64 {
        let mut state = seed;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut index = Index::with_seed(seed);
        let holders: Vec<HolderId> = (1..5).map(|n| index.add_holder(addr(n), NodeId([1; 16]))).collect();
        let mut model: BTreeSet<(u16, String, u64)> = BTreeSet::new();
        let change =
            |index: &mut Index, model: &mut BTreeSet<(u16, String, u64)>, below: &mut dyn FnMut(u64) -> u64| {
                let at = usize::try_from(below(4)).unwrap();
                let (holder, port) = (holders[at], u16::try_from(at + 1).unwrap());
                let path = format!("d{} w{}/w{} w{} w{}", below(2), below(4), below(4), below(4), below(4));
                let old = model.iter().find(|(p, other, _)| (*p, other) == (port, &path)).cloned();
                if let Some(old) = &old {
                    model.remove(old);
                }
                if old.is_some() && below(2) == 0 {
                    assert!(index.remove(holder, &path));
                } else {
                    let size = below(3);
                    index.insert(holder, record(&path, size));
                    model.insert((port, path, size));
                }
            };
        (0..below(200)).collect::<Vec<_>>().iter().for_each(|_| change(&mut index, &mut model, &mut below));
        let whole = below(2) == 0;
        while index.order(7) && whole {}
        let search = match below(8) {
            7 => search(QueryKind::Path, &format!("d0 w{}/w{} w{} w{}", below(4), below(4), below(4), below(4))),
            6 => search(QueryKind::Below, &format!("d1 w{}", below(4))),
            5 => search(QueryKind::Words, &format!("d{} w{}", below(2), below(4))),
            4 => search(QueryKind::Range, "01-02"),
            0 => search(QueryKind::Exact, "w1 w2 w3"),
            1 => search(QueryKind::Glob, "w1*w2"),
            2 => search(QueryKind::Root, &root(below(3)).to_string()),
            _ => search(QueryKind::Words, &format!("w{} w{}", below(4), below(4))),
        };
        let mut scan = Scan::new(&index, &search).unwrap();
        let mut throughout = model.clone();
        let mut reported = BTreeSet::new();
        loop {
            let mut hits = Vec::new();
            let step = scan.step(&index, 1 + usize::try_from(below(4)).unwrap(), &mut hits);
            for hit in hits {
                let seen = (hit.addr.port(), hit.path.as_str().to_owned(), hit.size);
                assert!(model.contains(&seen) && fits(&search, &seen.1, hit.root), "seed {seed}: {seen:?} is no hit");
                assert!(reported.insert(seen.clone()) || !throughout.contains(&seen), "seed {seed}: {seen:?} twice");
            }
            if step != Step::More {
                break;
            }
            change(&mut index, &mut model, &mut below);
            index.order(9);
            vanished += throughout.iter().filter(|seen| !model.contains(*seen)).count();
            throughout.retain(|seen| model.contains(seen));
        }
        for seen in &throughout {
            if fits(&search, &seen.1, root(seen.2)) {
                stayed += 1;
                let named = reported.iter().filter(|(port, ..)| *port == seen.0).count();
                let spared = search.kind == QueryKind::Root && named >= ROOT_HITS_PER_HOLDER;
                assert!(spared || reported.contains(seen), "seed {seed}: {seen:?} was missed");
            }
        }
        index.check_invariants();
    }
    assert!(stayed > 1000 && vanished > 500, "the run did something: {stayed} {vanished}");
}

#[test]
fn ranges_cut_everything_into_pages_without_gap_or_overlap() {
    let (mut index, _) = index_of(&[]);
    for port in 1..5 {
        let holder = index.add_holder(addr(port), NodeId([1; 16]));
        (0..40).for_each(|n| index.insert(holder, record(&format!("d/{n}"), n % 20)));
    }
    in_pages(&index);
    while index.order(50) {}
    in_pages(&index);
}

fn in_pages(index: &Index) {
    use crate::wire::position::{Position, Range};
    let all = |range: Range| {
        let search = search(QueryKind::Range, &range.to_string());
        let mut scan = Scan::new(index, &search).unwrap();
        let mut hits = Vec::new();
        while scan.step(index, 3, &mut hits) == Step::More {}
        hits.into_iter().map(|hit| Position::of(&hit.root, hit.path.as_str(), &hit.addr)).collect::<BTreeSet<_>>()
    };
    let whole = all(Range { low: Position::FIRST, high: None });
    assert_eq!(whole.len(), 160);
    // Limits between contents, and in the middle of each content.
    let mut pages = BTreeSet::new();
    let mut low = Position::FIRST;
    for high in whole.iter().skip(3).step_by(7).copied().map(Some).chain([None]) {
        for position in all(Range { low, high }) {
            assert!(pages.insert(position), "in one page only");
        }
        low = high.unwrap_or(low);
    }
    assert_eq!(pages, whole);
}

#[test]
fn words_are_found_in_the_whole_path_and_those_of_names_come_first() {
    let (index, _) = index_of(&["Miles Davis/Kind of Blue/01 So What.flac", "a/miles davis.txt", "davis/x/miles.txt"]);
    assert_eq!(
        found(&index, QueryKind::Words, "miles davis"),
        ["a/miles davis.txt", "Miles Davis/Kind of Blue/01 So What.flac", "davis/x/miles.txt"]
    );
    assert_eq!(found(&index, QueryKind::Words, "flac miles"), ["Miles Davis/Kind of Blue/01 So What.flac"]);
    assert_eq!(found(&index, QueryKind::Words, "Kind of Blue"), ["Miles Davis/Kind of Blue/01 So What.flac"]);
    assert!(found(&index, QueryKind::Words, "kind txt").is_empty());
}

#[test]
fn at_a_cap_names_go_before_folders() {
    let mut paths: Vec<String> = (0..40).map(|n| format!("blue train {n}/blue song {n}.mp3")).collect();
    paths.extend((0..5).map(|n| format!("x/blue train {n}.flac")));
    paths.extend((0..40).map(|n| format!("y train/blue {n}.flac")));
    let (index, _) = index_of(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    for limit in [5, 6, 84, 85, 100] {
        let limited = Search { limit: Some(limit), ..search(QueryKind::Words, "train blue") };
        let (hits, capped) = run(&index, &limited);
        assert_eq!((hits.len(), capped), (85.min(limit as usize), limit < 85), "{limit}");
        assert!(hits[..5].iter().all(|path| path.starts_with("x/")), "{hits:?}");
        assert_eq!(BTreeSet::from_iter(&hits).len(), hits.len(), "each once");
    }
    let (hits, _) = run(&index, &search(QueryKind::Words, "blue train 3"));
    assert_eq!(hits, ["x/blue train 3.flac", "blue train 3/blue song 3.mp3", "y train/blue 3.flac"]);
}

#[test]
fn what_people_type_finds_what_others_named() {
    let names = [
        "Señorita.mp3",
        "Sen\u{303}orita 2.mp3",
        "Müller.txt",
        "Straße.txt",
        "İstanbul.txt",
        "上海之夜.mp3",
        "เพลงไทย.mp3",
        "東京物語第01話.mkv",
    ];
    let (index, _) = index_of(&names);
    for (typed, at) in [
        ("senorita mp3", &[0, 1][..]),
        ("se\u{f1}orita", &[0, 1]),
        ("sen\u{303}orita", &[0, 1]),
        ("muller", &[2]),
        ("MÜLLER", &[2]),
        ("strasse", &[3]),
        ("ISTANBUL", &[4]),
        ("上海", &[5]),
        ("夜", &[5]),
        ("ไทย", &[6]),
        ("物語", &[7]),
        ("第01話", &[7]),
    ] {
        let wanted: Vec<&str> = at.iter().map(|at| names[*at]).collect();
        assert_eq!(found(&index, QueryKind::Words, typed), wanted, "{typed}");
    }
    assert!(found(&index, QueryKind::Words, "海夜").is_empty(), "these two are not side by side");
    assert_eq!(found(&index, QueryKind::Exact, "Sen\u{303}orita 2.mp3"), [names[1]]);
    assert!(found(&index, QueryKind::Exact, "Se\u{f1}orita 2.mp3").is_empty(), "exact is byte for byte");
}

#[test]
fn a_name_with_the_signs_of_a_glob_finds_itself_first() {
    let names = ["Show [1080p].mkv", "Show 1.mkv", "x/show [1080P].mkv", "what now?", "what now!", "open [bracket"];
    let (index, _) = index_of(&names);
    assert_eq!(found(&index, QueryKind::Glob, names[0]), [names[0], names[2], names[1]]);
    assert_eq!(found(&index, QueryKind::Glob, "x/show [1080P].mkv"), [names[2]]);
    assert_eq!(found(&index, QueryKind::Glob, "what now?"), ["what now?", "what now!"]);
    assert_eq!(found(&index, QueryKind::Glob, "open [bracket"), ["open [bracket"]);
    assert!(found(&index, QueryKind::Glob, "open [").is_empty());
}

#[test]
fn a_glob_with_a_slash_is_compared_with_the_path() {
    let (index, _) = index_of(&["Miles Davis/Kind of Blue/01.flac", "Miles Davis/01.mp3", "01.flac"]);
    assert_eq!(found(&index, QueryKind::Glob, "miles*/*.flac"), ["Miles Davis/Kind of Blue/01.flac"]);
    assert_eq!(found(&index, QueryKind::Glob, "*/0?.*"), ["Miles Davis/Kind of Blue/01.flac", "Miles Davis/01.mp3"]);
    assert_eq!(found(&index, QueryKind::Glob, "*.FLAC"), ["Miles Davis/Kind of Blue/01.flac", "01.flac"]);
}

#[test]
fn digits_of_a_root_are_a_name_too() {
    let digits = root(7).to_string();
    let mut index = Index::new();
    let holder = index.add_holder(addr(1), NodeId([1; 16]));
    for (path, size) in [("a", 7), (digits.as_str(), 3), (&format!("b/{digits}"), 7)] {
        index.insert(holder, record(path, size));
    }
    assert_eq!(found(&index, QueryKind::Root, &digits), ["a".to_owned(), format!("b/{digits}"), digits.clone()]);
}

#[test]
fn a_path_is_found_by_its_end() {
    let paths =
        ["Miles/Blue/01 Été.flac", "miles/blue/01 e\u{301}te\u{301}.flac", "Blue/02.flac", "xBlue/02.flac", "02.flac"];
    let (index, _) = index_of(&paths);
    assert_eq!(found(&index, QueryKind::Path, paths[1]), [paths[1], paths[0]]);
    assert_eq!(found(&index, QueryKind::Path, "BLUE/01 ete.flac"), [paths[0], paths[1]]);
    assert_eq!(found(&index, QueryKind::Path, "02.flac"), [paths[2], paths[3], paths[4]]);
    assert_eq!(found(&index, QueryKind::Path, "blue/02.flac"), [paths[2]]);
    for none in ["Blue/", "2.flac", "/02.flac", "//02.flac", "/Blue/02.flac"] {
        assert!(found(&index, QueryKind::Path, none).is_empty(), "{none}");
    }
    assert_eq!(found(&index, QueryKind::Words, "Blue/02.flac"), [paths[2]]);
}

#[test]
fn names_that_are_all_equal_are_looked_at_once() {
    let mut paths: Vec<String> = (0..100).map(|n| format!("{n}/song")).collect();
    let looked = |paths: &[String]| {
        let (index, _) = index_of(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let mut scan = Scan::new(&index, &search(QueryKind::Path, "song")).unwrap();
        let mut hits = Vec::new();
        while scan.step(&index, 3, &mut hits) == Step::More {}
        (hits.len(), scan.looked())
    };
    assert_eq!(looked(&paths), (100, 2 * 100));
    paths.push("Song".to_owned());
    assert_eq!(looked(&paths), (101, 3 * 101));
}

#[test]
fn a_path_costs_what_folding_it_takes() {
    let (folder, name) = ("\u{e9}".repeat(200), "\u{e9}".repeat(120));
    let (index, _) = index_of(&[&format!("{folder}/{name}")]);
    let bytes = folder.len() + name.len();
    for (kind, pattern, folds) in [
        (QueryKind::Path, format!("x/{}", name.to_uppercase()), 1),
        (QueryKind::Path, name.to_uppercase(), 1),
        (QueryKind::Glob, format!("{}[", name.to_uppercase()), 0),
    ] {
        let mut scan = Scan::new(&index, &search(kind, &pattern)).unwrap();
        let mut hits = Vec::new();
        while scan.step(&index, 1024, &mut hits) == Step::More {}
        let least = folds * if pattern.contains('/') { bytes } else { name.len() } / FOLDED_BYTES;
        assert!(scan.spent() >= least, "{pattern}: {} for {least}", scan.spent());
    }
}

#[test]
fn a_folder_is_found_with_all_that_is_below_it() {
    let paths = ["Müller/a", "mu\u{308}ller/x/y/b", "Müller", "x/Müller/c", "Müller 2/d", "---/e"];
    let (index, _) = index_of(&paths);
    for pattern in ["Müller", "Müller/", "MULLER"] {
        assert_eq!(found(&index, QueryKind::Below, pattern), [paths[0], paths[1]], "{pattern}");
    }
    assert_eq!(found(&index, QueryKind::Below, "Müller/x"), [paths[1]]);
    assert_eq!(found(&index, QueryKind::Below, "---"), [paths[5]]);
    assert!(found(&index, QueryKind::Below, "x/y").is_empty());
}

#[test]
fn any_search_comes_in_pages() {
    let (mut index, holder) = index_of(&[]);
    for n in 0..2000_u64 {
        let content = Root(*blake3::hash(&n.to_be_bytes()).as_bytes());
        let path = SharePath::new(&format!("{}/word {n}", if n % 2 == 0 { "even" } else { "odd" })).unwrap();
        index.insert(holder, FileRecord { path, size: 1, root: content, collection: n == 7 });
    }
    let page = |index: &Index, range: &str, search: &Search| {
        let search = Search { within: Some(range.into()), ..search.clone() };
        let mut scan = Scan::new(index, &search).unwrap();
        let mut hits = Vec::new();
        while scan.step(index, 500, &mut hits) == Step::More {}
        (hits, scan.looked())
    };
    for ordered in [false, true] {
        while ordered && index.order(1000) {}
        for search in
            [search(QueryKind::Below, "even"), search(QueryKind::Words, "word odd"), search(QueryKind::Glob, "*")]
        {
            let ranges = ["-4", "4-4008", "4008-c0", "c0-"];
            let found: Vec<String> = ranges
                .iter()
                .flat_map(|range| page(&index, range, &search).0)
                .map(|hit| hit.path.as_str().into())
                .collect();
            let wanted = if search.kind == QueryKind::Glob { 2000 } else { 1000 };
            assert_eq!((found.len(), BTreeSet::from_iter(&found).len()), (wanted, wanted), "{search:?}");
        }
        for search in [search(QueryKind::Below, "even"), search(QueryKind::Glob, "*")] {
            let (hits, looked) = page(&index, "40-42", &search);
            assert!(
                !ordered || looked < 60,
                "a page of an ordered index looks at its part: {looked} for {}",
                hits.len()
            );
        }
    }
    let all = page(&index, "-", &search(QueryKind::Words, "odd")).0;
    assert_eq!(
        all.iter().filter(|hit| hit.collection).map(|hit| hit.path.as_str()).collect::<Vec<_>>(),
        ["odd/word 7"]
    );
}

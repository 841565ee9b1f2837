use super::*;
use crate::disk::hash::ContentDigest;

const OLD: Duration = Duration::from_secs(60);

fn stamp(ino: u64, mtime_ns: i64) -> Stamp {
    Stamp { dev: 1, ino, size: 7, mtime_ns, ctime_ns: mtime_ns }
}

fn root(n: u8) -> Root {
    Root([n; 32])
}

/// A catalog that offers root 1 at `a/x`. Its changes are already taken.
fn offering(now: Instant) -> Catalog {
    let mut catalog = Catalog::default();
    catalog.observe("a/x", stamp(1, 1), Cause::Scan { now, age: OLD, watched: true });
    catalog.settle(now);
    let (path, stamp) = catalog.next_ready(false).unwrap();
    catalog.cache.insert(&stamp, &ContentDigest { root: root(1), cvs: Vec::new() });
    catalog.offer(&path, stamp, root(1));
    assert_eq!(changes(&mut catalog), (vec!["a/x".to_owned()], vec![]));
    catalog
}

fn changes(catalog: &mut Catalog) -> (Vec<String>, Vec<String>) {
    let (added, removed) = catalog.take_changes(1000).unwrap_or_default();
    (
        added.iter().map(|record| record.path.as_str().to_owned()).collect(),
        removed.iter().map(|path| path.as_str().to_owned()).collect(),
    )
}

fn written(at: Instant) -> Cause {
    Cause::Event { at, written: true, open: None }
}

#[test]
fn a_file_that_is_written_with_short_pauses_is_never_ready() {
    let start = Instant::now();
    let mut catalog = Catalog::default();
    let mut now = start;
    for write in 0..10 {
        now = start + Duration::from_millis(900) * write;
        catalog.settle(now);
        assert!(catalog.next_ready(false).is_none());
        catalog.observe("x", stamp(1, i64::from(write)), written(now));
    }
    catalog.settle(now + SHARE_QUIET);
    assert_eq!(catalog.next_ready(false).unwrap().1, stamp(1, 9));
}

#[test]
fn a_file_that_is_open_for_writing_waits_until_it_is_closed() {
    let start = Instant::now();
    let mut catalog = Catalog::default();
    let event = |at, written, open| Cause::Event { at, written, open };
    catalog.observe("x", stamp(1, 1), event(start, true, Some(true)));
    catalog.settle(start + SHARE_OPEN_QUIET - Duration::from_millis(1));
    assert!(catalog.next_ready(false).is_none(), "its writer pauses");
    // A new mode does not mean that the file was closed.
    let chmod = Stamp { ctime_ns: 9, ..stamp(1, 1) };
    let later = start + 5 * SHARE_QUIET;
    catalog.observe("x", chmod, event(later, false, None));
    catalog.settle(later + 2 * SHARE_QUIET);
    assert!(catalog.next_ready(false).is_none());
    // A new name does not mean that either.
    catalog.remove("x", later);
    catalog.observe("y", Stamp { ctime_ns: 10, ..chmod }, event(later, false, None));
    catalog.settle(later + 2 * SHARE_QUIET);
    assert!(catalog.next_ready(false).is_none());
    catalog.observe("y", Stamp { ctime_ns: 10, ..chmod }, event(later, false, Some(false)));
    catalog.settle(later + SHARE_QUIET);
    assert_eq!(&*catalog.next_ready(false).unwrap().0, "y");
}

#[test]
fn a_file_that_stays_open_is_ready_after_a_long_pause() {
    let now = Instant::now();
    let mut catalog = Catalog::default();
    catalog.observe("x", stamp(1, 1), Cause::Event { at: now, written: true, open: Some(true) });
    catalog.settle(now + SHARE_OPEN_QUIET);
    assert_eq!(&*catalog.next_ready(false).unwrap().0, "x");
    // When the file is closed, nothing changes.
    catalog.observe("x", stamp(1, 1), Cause::Event { at: now, written: false, open: Some(false) });
    assert!(catalog.is_ready("x", &stamp(1, 1)));
}

#[test]
fn a_file_that_is_found_open_when_it_is_due_waits_for_a_long_pause() {
    let now = Instant::now();
    let mut catalog = Catalog::default();
    catalog.observe("x", stamp(1, 1), Cause::Event { at: now, written: false, open: None });
    catalog.observe("old", stamp(2, 1), Cause::Scan { now, age: OLD, watched: true });
    let due = catalog.due_if_closed(now + SHARE_QUIET);
    assert_eq!(due, [Arc::from("x")]);
    catalog.set_open(&due[0]);
    catalog.settle(now + SHARE_QUIET);
    assert_eq!(catalog.next_ready(false).map(|(path, _)| path), Some(Arc::from("old")));
    assert!(catalog.next_ready(false).is_none());
    assert!(catalog.due_if_closed(now + SHARE_OPEN_QUIET).is_empty(), "it has waited long enough");
    catalog.settle(now + SHARE_OPEN_QUIET);
    assert!(catalog.next_ready(false).is_some());
}

#[test]
fn a_young_file_that_is_not_watched_may_be_open() {
    let now = Instant::now();
    let mut catalog = Catalog::default();
    catalog.observe("x", stamp(1, 1), Cause::Scan { now, age: 2 * SHARE_QUIET, watched: false });
    catalog.settle(now);
    assert!(catalog.next_ready(false).is_none());
    catalog.settle(now + SHARE_OPEN_QUIET - 2 * SHARE_QUIET);
    assert!(catalog.next_ready(false).is_some());
}

#[test]
fn an_old_file_is_ready_at_once_and_a_young_one_later() {
    let now = Instant::now();
    let mut catalog = Catalog::default();
    catalog.observe("old", stamp(1, 1), Cause::Scan { now, age: OLD, watched: true });
    catalog.observe("young", stamp(2, 1), Cause::Scan { now, age: SHARE_QUIET / 4, watched: true });
    catalog.settle(now);
    assert_eq!(&*catalog.next_ready(false).unwrap().0, "old");
    assert_eq!(catalog.deadline(), Some(now + SHARE_QUIET * 3 / 4 + SETTLED_SLACK));
}

#[test]
fn a_change_withdraws_the_old_content_before_the_new_is_hashed() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.observe("a/x", stamp(1, 2), written(now));
    assert_eq!(changes(&mut catalog), (vec![], vec!["a/x".to_owned()]));
    assert!(catalog.holders(root(1)).is_empty());
}

#[test]
fn a_write_that_leaves_no_trace_in_the_times_counts() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.observe("a/x", stamp(1, 1), written(now));
    assert_eq!(changes(&mut catalog).1, ["a/x"]);
    catalog.observe("a/x", stamp(1, 1), Cause::Event { at: now, written: false, open: None });
    assert!(!catalog.has_changes(), "an event without a write does not offer it before it is hashed again");
}

#[test]
fn a_new_mode_changes_nothing_but_an_unexplained_ctime_does() {
    let now = Instant::now();
    let mut catalog = offering(now);
    let chmod = Stamp { ctime_ns: 9, ..stamp(1, 1) };
    catalog.observe("a/x", chmod, Cause::Event { at: now, written: false, open: None });
    assert!(!catalog.has_changes());
    assert_eq!(catalog.holders(root(1))[0].1, chmod);
    catalog.observe("a/x", Stamp { ctime_ns: 10, ..chmod }, Cause::Scan { now, age: OLD, watched: true });
    assert_eq!(changes(&mut catalog).1, ["a/x"]);
}

#[test]
fn a_renamed_folder_keeps_its_digests() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.remove("a", now);
    catalog.observe("b/x", Stamp { ctime_ns: 9, ..stamp(1, 1) }, Cause::Scan { now, age: OLD, watched: true });
    assert_eq!(changes(&mut catalog), (vec!["b/x".to_owned()], vec!["a/x".to_owned()]));
    assert_eq!(&*catalog.holders(root(1))[0].0, "b/x");
}

#[test]
fn a_file_that_is_renamed_over_another_replaces_it_at_once() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.observe("b", stamp(2, 1), Cause::Scan { now, age: OLD, watched: true });
    catalog.offer("b", stamp(2, 1), root(2));
    changes(&mut catalog);
    catalog.remove("b", now);
    catalog.observe("a/x", Stamp { ctime_ns: 9, ..stamp(2, 1) }, Cause::Event { at: now, written: false, open: None });
    assert_eq!(changes(&mut catalog), (vec!["a/x".to_owned()], vec!["b".to_owned()]));
    assert_eq!(catalog.offered(), 1);
}

#[test]
fn changes_come_in_pages_with_the_latest_of_each_path() {
    let now = Instant::now();
    let mut catalog = offering(now);
    for n in 0..5 {
        catalog.offer(&format!("f{n}"), stamp(n, 1), root(n as u8));
    }
    catalog.remove("f0", now);
    let (added, removed) = catalog.take_changes(3).unwrap();
    assert_eq!((added.len(), removed.len()), (2, 1));
    assert_eq!(changes(&mut catalog).0, ["f3", "f4"]);
    assert!(catalog.take_changes(3).is_none());
}

#[test]
fn removing_a_file_keeps_a_folder_of_that_name_and_the_other_way_round() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.observe("a", stamp(2, 1), Cause::Scan { now, age: OLD, watched: true });
    catalog.offer("a", stamp(2, 1), root(2));
    changes(&mut catalog);
    catalog.remove_file("a", now);
    assert_eq!(changes(&mut catalog), (vec![], vec!["a".to_owned()]));
    catalog.remove_below("a", now);
    assert_eq!(changes(&mut catalog), (vec![], vec!["a/x".to_owned()]));
}

#[test]
fn files_that_a_scan_does_not_find_are_listed() {
    let now = Instant::now();
    let mut catalog = offering(now);
    catalog.offer("a-sibling", stamp(5, 1), root(5));
    let scan = catalog.begin_scan();
    assert_eq!(catalog.not_found("a", scan), [Arc::from("a/x")]);
    assert_eq!(catalog.not_found("", scan).len(), 2);
    catalog.observe("a/x", stamp(1, 1), Cause::Scan { now, age: OLD, watched: true });
    assert_eq!(catalog.not_found("", scan), [Arc::from("a-sibling")]);
}

#[test]
fn a_slow_scan_takes_another_inode_with_the_same_times_for_the_same_file() {
    let mut catalog = offering(Instant::now());
    let scan = catalog.begin_scan();
    assert!(catalog.find_again("a/x", &stamp(9, 1)));
    assert_eq!(catalog.not_found("", scan), Vec::<Arc<str>>::new());
    assert_eq!(catalog.offered_at("a/x"), Some((root(1), stamp(9, 1))));
    assert_eq!(catalog.cache.root(&stamp(9, 1)), Some(root(1)), "it is not hashed again");
    assert_eq!(changes(&mut catalog), (vec![], vec![]));
    for other in [Stamp { size: 8, ..stamp(9, 1) }, Stamp { ctime_ns: 2, ..stamp(9, 1) }, stamp(9, 2)] {
        assert!(!catalog.find_again("a/x", &other), "{other:?}");
    }
    assert!(!catalog.find_again("b", &stamp(9, 1)));
}

use super::*;
use crate::proto::command;
use crate::wire::{Cut, SharePath};

fn hit(path: &str, root: u8, port: u16) -> SourceRecord {
    let addr = HostPort::new("192.0.2.1", port).unwrap();
    let path = SharePath::new(path).unwrap();
    SourceRecord {
        path,
        size: 5,
        root: Root([root; 32]),
        collection: false,
        node: None,
        other: None,
        unreached: false,
        http: false,
        addr,
        member: None,
    }
}

fn get(what: &str, also: &[&str]) -> command::Get {
    let also = also.iter().map(|name| (*name).to_owned()).collect();
    command::Get { also, ..crate::sim::builders::get_of(what) }
}

fn whole() -> Answer {
    Answer { reached: 1, pruned: 0, complete: true, cut: Cut::NONE }
}

/// Answers every search with these hits, as a super peer does that sends too many.
fn run(get: &command::Get, hits: &[SourceRecord]) -> (Want, Verdict) {
    let mut want = Want::new(get);
    for _ in 0..20 {
        want.on_hits(hits.to_vec());
        match want.on_done(whole()) {
            Verdict::Again => {}
            verdict => return (want, verdict),
        }
    }
    panic!("it does not end: {want:?}");
}

fn one(what: &str, hits: &[SourceRecord]) -> Option<(u8, String)> {
    match run(&get(what, &[]), hits).1 {
        Verdict::One(content) => Some((content.root.0[0], content.name)),
        _ => None,
    }
}

fn fails(what: &str, hits: &[SourceRecord]) -> (Failure, usize) {
    match run(&get(what, &[]), hits) {
        (want, Verdict::None(failure)) => (failure, want.shown.len()),
        (_, verdict) => panic!("{verdict:?}"),
    }
}

fn many(what: &str, also: &[&str], hits: &[SourceRecord]) -> (Vec<(String, u8, usize)>, Vec<Failure>) {
    match run(&get(what, also), hits).1 {
        Verdict::Many(entries, failures) => {
            (entries.into_iter().map(|entry| (entry.path, entry.root.0[0], entry.sources.len())).collect(), failures)
        }
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn only_what_was_named_is_taken() {
    let hits = [hit("a/annual report draft.pdf", 1, 1), hit("b/Report.pdf", 2, 1), hit("b/report.pdf", 3, 1)];
    assert_eq!(one("report.pdf", &hits), Some((3, "report.pdf".into())));
    assert_eq!(one("REPORT.PDF", &hits[..2]), Some((2, "Report.pdf".into())));
    let (failure, shown) = fails("report.pdf", &hits[..1]);
    assert_eq!((failure.exit, shown), (Exit::NotFound, 1));
    assert!(failure.message.contains("similar names"), "{}", failure.message);
    let (failure, shown) = fails("report.pdf", &[]);
    assert!(shown == 0 && !failure.message.contains("similar"), "{}", failure.message);
}

#[test]
fn a_path_is_taken_as_it_is_listed() {
    let hits = [hit("A/x/01.flac", 1, 1), hit("B/x/01.flac", 2, 1), hit("C/A/x/01.flac", 3, 1)];
    assert_eq!(one("A/x/01.flac", &hits), Some((1, "01.flac".into())));
    assert_eq!(one("b/X/01.flac", &hits), Some((2, "01.flac".into())));
    assert_eq!(one("C/A/x/01.flac", &hits), Some((3, "01.flac".into())));
    let (failure, shown) = fails("x/01.flac", &hits);
    assert_eq!((failure.exit, shown), (Exit::Usage, 3));
}

#[test]
fn a_name_finds_itself_whatever_its_characters() {
    for name in ["Show [1080p].mkv", "what?.txt", "*", "a[1", &"0f".repeat(32)] {
        assert_eq!(one(name, &[hit(&format!("d/{name}"), 1, 1), hit("Show 1.mkv", 2, 1)]), Some((1, name.into())));
    }
}

#[test]
fn a_root_goes_before_a_name() {
    let root = Root([9; 32]).to_string();
    assert_eq!(one(&root, &[hit(&root, 1, 1), hit("x", 9, 2)]), Some((9, "x".into())));
    assert_eq!(one(&root, &[hit("x", 1, 1)]), None);
}

#[test]
fn one_content_of_one_name_is_one_whatever_its_sources_claim() {
    let hits = [hit("x", 1, 1), hit("y/x", 1, 2), SourceRecord { size: 9, ..hit("x", 1, 3) }];
    let (want, Verdict::One(content)) = run(&get("x", &[]), &hits) else { panic!("one content") };
    assert_eq!((content.root, want.hits.len()), (Root([1; 32]), 3));
}

#[test]
fn a_pattern_takes_all_that_fit() {
    let hits = [hit("A/1.flac", 1, 1), hit("A/2.flac", 2, 1), hit("B/1.flac", 1, 2)];
    let (files, failures) = many("*.flac", &[], &hits);
    assert_eq!(files, [("1.flac".to_owned(), 1, 2), ("2.flac".to_owned(), 2, 1)]);
    assert!(failures.is_empty());
    assert_eq!(one("*.flac", &hits[..1]), Some((1, "1.flac".into())));
}

#[test]
fn a_folder_takes_what_is_below_it_from_all_and_guesses_nothing() {
    let hits = [
        hit("m/Miles/Blue/01", 1, 1),
        hit("m/Miles/Blue/01", 1, 2),
        hit("m/Miles/Blue/02", 2, 1),
        hit("m/Miles/cover", 3, 1),
        hit("m/Miles/cover", 4, 2),
        hit("m/Miles 2/x", 5, 1),
    ];
    let (files, failures) = many("m/Miles/", &[], &hits);
    assert_eq!(files, [("Miles/Blue/01".to_owned(), 1, 2), ("Miles/Blue/02".to_owned(), 2, 1)]);
    assert!(failures.len() == 1 && failures[0].message.contains("Miles/cover"), "{failures:?}");
    let (files, _) = many("miles/", &[], &hits);
    assert_eq!(files.len(), 2, "the only folder of that name, folded");
    let spelled = [hit("a/MILES/1", 1, 1), hit("a/Miles/1", 1, 2), hit("a/Miles/2", 2, 2)];
    let (files, _) = many("a/miles/", &[], &spelled);
    assert_eq!(files, [("MILES/1".to_owned(), 1, 2), ("MILES/2".to_owned(), 2, 1)]);
    let (failure, _) = fails("m/Miles", &hits);
    assert!(failure.message.contains("\"m/Miles/\""), "{}", failure.message);
}

#[test]
fn a_folder_that_is_named_exactly_goes_before_its_other_spellings() {
    let hits = [hit("a/TRIP/1", 1, 1), hit("a/Trip/2", 2, 2), hit("a/trip/3", 3, 1), hit("a/Trip/4", 4, 2)];
    let (files, _) = many("a/Trip/", &[], &hits);
    assert_eq!(files, [("Trip/2".to_owned(), 2, 1), ("Trip/4".to_owned(), 4, 1)]);
}

#[test]
fn a_path_of_a_folder_with_two_contents_is_listed_as_its_sources_name_it() {
    let (want, verdict) = run(&get("m/Miles/", &[]), &[hit("m/Miles/cover", 3, 1), hit("m/Miles/cover", 4, 2)]);
    let Verdict::None(failure) = verdict else { panic!("{verdict:?}") };
    assert_eq!(failure.exit, Exit::Usage);
    assert_eq!(want.shown.iter().map(|record| record.path.as_str()).collect::<Vec<_>>(), ["m/Miles/cover"; 2]);
}

#[test]
fn of_several_files_with_one_name_the_first_keeps_it() {
    let hits = [hit("A2/01.flac", 2, 1), hit("A1/01.flac", 1, 1), hit("A3/01.flac", 2, 2)];
    let (first, second) = (("01.flac".to_owned(), 1, 1), ("01 (02020202).flac".to_owned(), 2, 2));
    for (files, failures) in [
        many("A1/01.flac", &["A2/01.flac", "A3/01.flac"], &hits),
        many(&Root([1; 32]).to_string(), &[&Root([2; 32]).to_string()], &hits),
        many("*.flac", &[], &hits),
    ] {
        assert_eq!(files, [first.clone(), second.clone()]);
        assert!(failures.is_empty(), "{failures:?}");
    }
    let (files, _) = many("A2/01.flac", &["A1/01.flac"], &hits);
    assert_eq!(files, [("01.flac".to_owned(), 2, 1), ("01 (01010101).flac".to_owned(), 1, 1)]);
}

#[test]
fn a_file_that_has_the_name_with_digits_already_does_not_share_it() {
    let hits = [hit("01 (02020202).flac", 3, 1), hit("A1/01.flac", 1, 1), hit("A2/01.flac", 2, 1)];
    let (files, _) = many("01 (02020202).flac", &["A1/01.flac", "A2/01.flac"], &hits);
    let names: std::collections::BTreeSet<_> = files.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(Root([2; 32]).to_string().as_str()), "{names:?}");
}

#[test]
fn a_collection_is_taken_with_its_files_and_not_beside_them() {
    let folder = |path, root, port| SourceRecord { collection: true, ..hit(path, root, port) };
    let hits = [folder("album", 1, 1), hit("album", 1, 2), hit("x", 2, 1)];
    let Verdict::Many(entries, _) = run(&get("album", &["x"]), &hits).1 else { panic!("two contents") };
    assert_eq!(entries.iter().map(|entry| entry.collection).collect::<Vec<_>>(), [true, false]);
    // The files of one folder are found, and those of the other are not.
    let hits = [folder("m/a", 1, 1), hit("m/a/1", 2, 1), hit("m/a b", 3, 1), folder("m/b", 4, 1)];
    let (files, failures) = many("m/", &[], &hits);
    assert_eq!(files, [("m/a b".to_owned(), 3, 1), ("m/a/1".to_owned(), 2, 1), ("m/b".to_owned(), 4, 1)]);
    assert!(failures.is_empty());
}

#[test]
fn of_several_names_those_that_are_there_are_taken() {
    let hits = [hit("a", 1, 1), hit("b", 2, 1), hit("x/b", 3, 1), hit("c", 4, 1)];
    let (files, failures) = many("a", &["b", "none", "c"], &hits);
    assert_eq!(files, [("a".to_owned(), 1, 1), ("c".to_owned(), 4, 1)]);
    assert_eq!(failures.iter().map(|failure| failure.exit).collect::<Vec<_>>(), [Exit::Usage, Exit::NotFound]);
}

#[test]
fn long_paths_are_asked_for_by_what_fits() {
    let long = "長".repeat(60);
    let path = format!("{long}/{long}/{long}/01.flac");
    for stage in [Stage::Path, Stage::Below, Stage::Near] {
        let mut want = Want::new(&get(&path, &[]));
        want.stage = stage;
        assert!((1..=PATTERN_BYTES_MAX).contains(&want.search().pattern.len()), "{stage:?}");
    }
    assert_eq!(one(&path, &[hit(&path, 1, 1), hit(&format!("x/{long}/01.flac"), 2, 1)]), Some((1, "01.flac".into())));
    assert_eq!(end_of(&path), format!("{long}/01.flac"));
    assert_eq!(start_of(&path), long);
    assert!(start_of(&format!("/{}", "x".repeat(PATTERN_BYTES_MAX))).len() > 1, "no pattern is empty");
}

#[test]
fn a_path_that_was_shown_with_escapes_is_found() {
    let hits = [hit("a/tab\there", 1, 1), hit("back\\new", 2, 1), hit("b/pay\u{200d}pal", 3, 1)];
    assert_eq!(one("a/tab\\there", &hits), Some((1, "tab\there".to_owned())));
    assert_eq!(one("back\\new", &hits), Some((2, "back\\new".to_owned())), "a name goes before what it may mean");
    assert_eq!(one("pay\\u{200d}pal", &hits), Some((3, "pay\u{200d}pal".to_owned())));
    let (entries, _) = many("b/", &["tab\\there"], &hits);
    assert_eq!(entries.len(), 2);
    assert!(fails("no\\there", &hits[..1]).0.message.contains("no\\there"));
}

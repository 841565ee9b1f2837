//! What a peer offers is what lies in its folder, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::common::session::Speaker;
use super::common::{Daemon, World, eventually, root_of};

/// Path and root of each listed file.
fn listed(daemon: &Daemon) -> BTreeMap<String, String> {
    let files = Speaker::session(daemon.addr()).list();
    files.into_iter().map(|file| (file.path.as_str().to_owned(), file.root.to_string())).collect()
}

/// Waits until exactly these files are listed.
fn agrees(daemon: &Daemon, files: &[(&str, &[u8])]) {
    let wanted: BTreeMap<String, String> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), root_of(bytes))).collect();
    let mut seen = BTreeMap::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the list agrees with the folder", || {
            seen = listed(daemon);
            (seen == wanted).then_some(())
        });
    }));
    assert!(found.is_ok(), "listed: {seen:?}, wanted: {wanted:?}");
}

#[test]
fn new_changed_renamed_and_deleted_files_are_followed() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "old.txt", b"old");
    let _peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("old.txt", b"old")]);

    world.share("p", "sub/deep/new.txt", b"new");
    agrees(&daemon, &[("old.txt", b"old"), ("sub/deep/new.txt", b"new")]);

    let share = world.path("p");
    let mut file = fs::OpenOptions::new().append(true).open(share.join("old.txt")).expect("open");
    file.write_all(b" and longer").expect("append");
    drop(file);
    agrees(&daemon, &[("old.txt", b"old and longer"), ("sub/deep/new.txt", b"new")]);

    fs::rename(share.join("sub"), share.join("moved")).expect("rename");
    agrees(&daemon, &[("old.txt", b"old and longer"), ("moved/deep/new.txt", b"new")]);

    fs::remove_file(share.join("old.txt")).expect("remove");
    agrees(&daemon, &[("moved/deep/new.txt", b"new")]);

    fs::remove_dir_all(share.join("moved")).expect("remove");
    agrees(&daemon, &[]);
}

#[test]
fn what_came_and_went_while_the_peer_was_down_is_seen_at_its_start() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "stays.txt", b"stays");
    world.share("p", "goes.txt", b"goes");
    let mut peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("stays.txt", b"stays"), ("goes.txt", b"goes")]);
    peer.signal(rustix::process::Signal::TERM);
    assert_eq!(peer.wait(), Some(0));
    agrees(&daemon, &[]);
    fs::remove_file(world.path("p/goes.txt")).expect("remove");
    world.share("p", "comes.txt", b"comes");
    let _peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("stays.txt", b"stays"), ("comes.txt", b"comes")]);
}

#[test]
fn only_regular_files_below_the_share_are_offered() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "real.txt", b"real");
    fs::write(world.path("secret.txt"), b"secret").expect("written");
    let share = world.path("p");
    std::os::unix::fs::symlink(world.path("secret.txt"), share.join("link.txt")).expect("symlink");
    std::os::unix::fs::symlink("/", share.join("root")).expect("symlink");
    std::os::unix::fs::symlink(".", share.join("loop")).expect("symlink");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        share.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("mkfifo");
    let _socket = std::os::unix::net::UnixListener::bind(share.join("socket")).expect("a socket");
    fs::write(share.join(Path::new(std::ffi::OsStr::from_bytes(b"not-\xff-utf8.txt"))), b"x").expect("written");
    let peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("real.txt", b"real")]);
    // A later file shows that the peer did not get stuck on the FIFO and has looked at everything
    // by now.
    world.share("p", "later.txt", b"later");
    agrees(&daemon, &[("real.txt", b"real"), ("later.txt", b"later")]);
    assert!(peer.log().contains("UTF-8"), "the skipped name is reported: {}", peer.log());
}

#[test]
fn a_file_that_was_swapped_for_a_link_is_not_served() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "file.txt", b"shared");
    fs::write(world.path("secret.txt"), b"secret").expect("written");
    let _peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("file.txt", b"shared")]);
    let share = world.path("p");
    std::os::unix::fs::symlink(world.path("secret.txt"), share.join("swap")).expect("symlink");
    fs::rename(share.join("swap"), share.join("file.txt")).expect("rename");
    agrees(&daemon, &[]);
    let root = root_of(b"secret");
    assert_eq!(world.run(["get", &root, "-o", "got", "--json", "--super", daemon.addr()]).exit, Some(3));
}

#[test]
fn a_deleted_folder_is_nothing_to_warn_of() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "folder/below/x", b"x");
    let peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("folder/below/x", b"x")]);
    fs::remove_dir_all(world.path("p").join("folder")).expect("removed");
    agrees(&daemon, &[]);
    world.share("p", "later", b"later");
    agrees(&daemon, &[("later", b"later")]);
    assert!(!peer.log().contains("warning"), "{}", peer.log());
}

#[test]
fn a_share_that_is_deleted_and_made_again_is_followed_with_one_warning() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "old.txt", b"old");
    let peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("old.txt", b"old")]);
    let lines = |word: &str| peer.log().lines().filter(|line| line.contains(word)).count();
    for round in 1..=2 {
        fs::remove_dir_all(world.path("p")).expect("removed");
        agrees(&daemon, &[]);
        world.share("p", "new.txt", b"new");
        agrees(&daemon, &[("new.txt", b"new")]);
        assert_eq!((lines("is gone"), lines("is back; it")), (round, round), "{}", peer.log());
    }
    // Another folder at the path is another share.
    world.share("q", "other.txt", b"other");
    fs::rename(world.path("p"), world.path("away")).expect("renamed");
    fs::rename(world.path("q"), world.path("p")).expect("renamed");
    agrees(&daemon, &[("other.txt", b"other")]);
}

#[test]
fn what_becomes_unreadable_is_not_listed_until_it_is_readable_again() {
    let mut world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "file.txt", b"file");
    world.share("p", "folder/below.txt", b"below");
    // Root may read everything, unless it gives that up.
    world.limit("[ \"$(id -u)\" != 0 ] || set -- setpriv --bounding-set=-dac_override,-dac_read_search \"$@\"");
    let _peer = world.peer("p", &[&daemon]);
    let file: (&str, &[u8]) = ("file.txt", b"file");
    let below: (&str, &[u8]) = ("folder/below.txt", b"below");
    agrees(&daemon, &[file, below]);
    let share = world.path("p");
    for (path, left) in [("file.txt", vec![below]), ("folder", vec![file]), ("", vec![])] {
        let path = share.join(path);
        let before = fs::metadata(&path).expect("it is there").permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("chmod");
        agrees(&daemon, &left);
        fs::set_permissions(&path, before).expect("chmod");
        agrees(&daemon, &[file, below]);
    }
}

#[test]
fn a_write_through_a_name_outside_the_share_is_found_by_the_scan() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "file.txt", b"before");
    fs::hard_link(world.path("p/file.txt"), world.path("other-name")).expect("linked");
    let _peer = world.peer_with("p", &[&daemon], &["--rescan", "200ms"], std::process::Stdio::null());
    agrees(&daemon, &[("file.txt", b"before")]);
    let mut other = fs::OpenOptions::new().append(true).open(world.path("other-name")).expect("open");
    other.write_all(b" and after").expect("written");
    drop(other);
    agrees(&daemon, &[("file.txt", b"before and after")]);
}

#[test]
fn a_file_is_offered_once_its_writer_has_closed_it() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "first.txt", b"first");
    let _peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("first.txt", b"first")]);
    let mut slow = fs::File::create(world.path("p/slow.bin")).expect("created");
    slow.write_all(b"one half").expect("written");
    // Files that come later are offered while its writer pauses.
    for name in ["second.txt", "third.txt"] {
        world.share("p", name, b"later");
        eventually("the later file is listed", || listed(&daemon).contains_key(name).then_some(()));
        assert!(!listed(&daemon).contains_key("slow.bin"), "offered while it was being written");
    }
    slow.write_all(b" and the other").expect("written");
    drop(slow);
    // Also if the peer starts in the middle of the write.
    let mut other = fs::File::create(world.path("q-open.bin")).expect("created");
    other.write_all(b"begun").expect("written");
    fs::create_dir_all(world.path("q")).expect("a folder");
    fs::rename(world.path("q-open.bin"), world.path("q/open.bin")).expect("renamed");
    world.share("q", "closed.bin", b"closed");
    let second = world.peer("q", &[&daemon]);
    eventually("the closed file is listed", || listed(&daemon).contains_key("closed.bin").then_some(()));
    assert!(!listed(&daemon).contains_key("open.bin"), "offered while it was being written");
    other.write_all(b" and ended").expect("written");
    drop(other);
    let root = root_of(b"begun and ended");
    eventually("the other is listed", || (listed(&daemon).get("open.bin") == Some(&root)).then_some(()));
    drop(second);
    // Another name of a file is offered without a close.
    fs::hard_link(world.path("p/first.txt"), world.path("p/again.txt")).expect("linked");
    agrees(
        &daemon,
        &[
            ("again.txt", b"first"),
            ("first.txt", b"first"),
            ("second.txt", b"later"),
            ("slow.bin", b"one half and the other"),
            ("third.txt", b"later"),
        ],
    );
}

#[test]
fn several_folders_are_shared_each_under_its_name() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let music = world.folder("my=music");
    fs::write(music.join("blue.flac"), b"blue").expect("written");
    fs::create_dir_all(world.path("p/music")).expect("a folder");
    fs::write(world.path("p/music/covered.flac"), b"covered").expect("written");
    world.share("p", "a/plain.txt", b"plain");
    let named = format!("music={}", music.display());
    let inbox = world.path("new/inbox");
    let more = ["--share", &named, "--downloads", inbox.to_str().expect("UTF-8")];
    let peer = world.peer_with("p", &[&daemon], &more, std::process::Stdio::null());
    agrees(&daemon, &[("a/plain.txt", b"plain"), ("music/blue.flac", b"blue")]);
    assert_eq!(world.peer_count(&peer, "left_out_covered"), 1);
    assert!(peer.log().contains("covered by the name of another share"), "{}", peer.log());

    // All of them are followed and served.
    fs::create_dir(music.join("new")).expect("a folder");
    fs::rename(music.join("blue.flac"), music.join("new/green.flac")).expect("renamed");
    agrees(&daemon, &[("a/plain.txt", b"plain"), ("music/new/green.flac", b"blue")]);
    let ran = world.run(["get", "green.flac", "-o", "got", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());

    // Downloads go to a folder of their own and are not offered.
    world.share("q", "fresh.bin", b"fresh");
    let _other = world.peer("q", &[&daemon]);
    world.hits(&daemon, "fresh.bin", 1);
    let ran = world.run(["get", "fresh.bin", "--json", "--control", peer.control()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert_eq!(fs::read(inbox.join("fresh.bin")).expect("in its folder"), b"fresh");
    world.share("p", "later.txt", b"later");
    eventually("the later file is listed", || listed(&daemon).contains_key("later.txt").then_some(()));
    assert_eq!(world.hits(&daemon, "fresh.bin", 1).len(), 1);
}

#[test]
fn a_peer_may_only_download() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "a.txt", b"a");
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "a.txt", 1);
    let second = world.peer_of("q", &[&daemon], &["--downloads", "inbox"]);
    let ran = world.run(["get", "a.txt", "--json", "--control", second.control()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    assert_eq!(fs::read(world.path("inbox/a.txt")).expect("downloaded"), b"a");
}

#[test]
fn shares_that_cannot_be_distinguished_are_a_usage_error() {
    let world = World::new();
    for shares in [&["a", "b"][..], &["x=a", "x=b"], &["=a"], &["x="], &[".x=a"]] {
        let shares = shares.iter().flat_map(|share| ["--share", share]);
        let ran = world.run(["peer", "--super", "127.0.0.1:9"].into_iter().chain(shares));
        assert_eq!(ran.exit, Some(2), "{}", ran.stderr);
    }
}

#[test]
fn what_the_rules_leave_out_is_not_offered() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for (path, bytes) in [
        (".spratignore", &b"*.tmp\nbuild/\n"[..]),
        ("a.txt", b"a"),
        ("a.tmp", b"temporary"),
        ("build/out.bin", b"built"),
        ("sub/.spratignore", b"!keep.tmp\n"),
        ("sub/keep.tmp", b"kept"),
    ] {
        world.share("p", path, bytes);
    }
    let peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("a.txt", b"a"), ("sub/keep.tmp", b"kept")]);
    assert_eq!(world.peer_count(&peer, "left_out_ignored"), 2);

    // What is new is judged too.
    world.share("p", "b.tmp", b"temporary");
    world.share("p", "sub/build/x", b"built");
    world.share("p", "b.txt", b"b");
    agrees(&daemon, &[("a.txt", b"a"), ("b.txt", b"b"), ("sub/keep.tmp", b"kept")]);
    eventually("all are counted", || (world.peer_count(&peer, "left_out_ignored") == 4).then_some(()));

    // New rules take effect on what is there.
    world.share("p", ".spratignore", b"*.txt\n");
    agrees(
        &daemon,
        &[
            ("a.tmp", b"temporary"),
            ("b.tmp", b"temporary"),
            ("build/out.bin", b"built"),
            ("sub/build/x", b"built"),
            ("sub/keep.tmp", b"kept"),
        ],
    );
    fs::remove_file(world.path("p/.spratignore")).expect("removed");
    eventually("nothing is left out", || listed(&daemon).contains_key("a.txt").then_some(()));
    // Rules that cannot be read leave out everything.
    std::os::unix::fs::symlink("/etc/passwd", world.path("p/sub/new")).expect("symlink");
    fs::rename(world.path("p/sub/new"), world.path("p/sub/.spratignore")).expect("renamed");
    eventually("the folder is left out", || listed(&daemon).keys().all(|path| !path.starts_with("sub/")).then_some(()));
    assert!(peer.log().contains("its .spratignore cannot be read"), "{}", peer.log());
}

#[test]
fn what_is_left_out_is_counted_by_reason() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "real.txt", b"real");
    for hidden in [".hidden", ".git/config", "album.part", ".x.part.map"] {
        world.share("p", hidden, b"x");
    }
    let share = world.path("p");
    std::os::unix::fs::symlink("real.txt", share.join("link.txt")).expect("symlink");
    let peer = world.peer("p", &[&daemon]);
    agrees(&daemon, &[("real.txt", b"real")]);
    let counts = |expected: [u64; 3]| {
        eventually(&format!("{expected:?} are left out"), || {
            let names = ["left_out_hidden", "left_out_parts", "left_out_symlinks"];
            (names.map(|name| world.peer_count(&peer, name)) == expected).then_some(())
        });
    };
    counts([2, 2, 1]);
    assert!(peer.log().contains("hidden: 2, parts of downloads: 2, symbolic links: 1"), "{}", peer.log());
    // Each change is seen.
    fs::remove_file(share.join("link.txt")).expect("removed");
    fs::rename(share.join("album.part"), share.join("album.flac")).expect("renamed");
    fs::remove_dir_all(share.join(".git")).expect("removed");
    fs::write(share.join(".new"), "x").expect("written");
    fs::write(share.join(".newer"), "x").expect("written");
    counts([3, 1, 0]);
    agrees(&daemon, &[("album.flac", b"x"), ("real.txt", b"real")]);
    fs::remove_file(share.join("album.flac")).expect("removed");
    std::os::unix::fs::symlink("real.txt", share.join("album.flac")).expect("symlink");
    counts([3, 1, 1]);
    agrees(&daemon, &[("real.txt", b"real")]);
}

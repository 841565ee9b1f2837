//! What a peer offers is what lies in its folder, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
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
    assert!(peer.log().contains("UTF-8"), "the skipped name is told: {}", peer.log());
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

//! Files whose names were chosen by strangers are never written outside the folder for them.

use std::collections::BTreeSet;
use std::fs;

use sprat::wire::Message;
use sprat::wire::message::ErrorCode;

use super::common::session::Speaker;
use super::common::source::{Answer, Source};
use super::common::{World, noise};

/// Every path below `folder` that is not a folder.
fn files(folder: &std::path::Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_hostile_name_lands_inside_the_destination() {
    let long = "n".repeat(300);
    let names = [
        "nul\0byte",
        "esc\x1b[2Jape",
        "CON",
        "aux.txt",
        ".hidden",
        "back\\slash\\..\\evil",
        "trailing. ",
        "new\nline",
        "\u{202e}gnp.exe",
        "~",
        "-rf",
        &long,
    ];
    for (number, name) in names.iter().enumerate() {
        let world = World::new();
        let daemon = world.super_peer("s");
        let content = noise(40 + number as u64, 1000);
        let root = super::common::root_of(&content);
        let _source = Source::start(world.ip(), daemon.addr(), name, content.clone(), |_, _| Answer::Honest);
        let inside = world.folder("downloads");
        let ran = world.run(["get", &root, "-o", "downloads/", "--json", "--super", daemon.addr()]);
        assert_eq!(ran.exit, Some(0), "{name:?}: {:?}", ran.done());
        let landed: Vec<_> = files(&inside).into_iter().collect();
        assert_eq!(landed.len(), 1, "{name:?}: {landed:?}");
        assert!(fs::read(&landed[0]).expect("readable") == content, "{name:?}");
        let published = landed[0].file_name().and_then(|n| n.to_str()).expect("UTF-8");
        assert!(!published.starts_with('.') && published.len() <= 255, "{name:?} became {published:?}");
        assert!(!published.chars().any(char::is_control), "{name:?} became {published:?}");
        let evil = files(&world.path(""))
            .into_iter()
            .find(|p| p.to_string_lossy().contains("evil") && !p.starts_with(&inside));
        assert_eq!(evil, None, "{name:?} left the folder");
        assert!(!std::path::Path::new("/etc/evil").exists());
    }
}

#[test]
fn a_path_that_leaves_the_share_ends_the_session() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for path in ["../../evil", "/etc/evil", "a/../../evil", "..", ".", "a/", "/", "a//b"] {
        let mut session = Speaker::session(daemon.addr());
        // `{"UPDATE": {"seq": 1, "del": [path]}}`, which our own encoder does not write.
        let mut body = b"\x81\xa6UPDATE\x82\xa3seq\x01\xa3del\x91".to_vec();
        body.push(0xa0 + u8::try_from(path.len()).expect("short"));
        body.extend_from_slice(path.as_bytes());
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        session.send_raw(&[&length[..], &body].concat());
        let Some(Message::Error(error)) = session.receive() else { panic!("{path}: no ERROR") };
        assert_eq!(error.code, ErrorCode::MALFORMED, "{path}: {}", error.message);
        assert_eq!(session.receive(), None, "{path}: the session is closed");
    }
}

#[test]
fn escapes_in_a_name_do_not_reach_the_terminal() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _source =
        Source::start(world.ip(), daemon.addr(), "x\x1b[2Jtune\x07.txt", noise(60, 10), |_, _| Answer::Honest);
    for args in [["query", "*tune*"], ["list", "--quiet"]] {
        let ran = world.run(args.iter().copied().chain(["--super", daemon.addr()]));
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        assert!(ran.text.contains("tune"), "{:?}", ran.text);
        assert!(!(ran.text + &ran.stderr).contains(['\x1b', '\x07']), "an escape got through");
    }
}

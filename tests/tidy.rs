//! What matters about the structure: who imports whom, who may touch the world, and how a file begins.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, and for each the rooms that it may import. Anything else under `crate::` is refused.
const IMPORTS: [(&str, &[&str]); 13] = [
    ("config", &[]),
    ("time", &[]),
    ("error", &[]),
    ("wire", &["config", "error", "time"]),
    ("proto", &["config", "error", "time", "wire"]),
    ("net", &["config", "error", "time", "wire", "proto"]),
    ("disk", &["config", "error", "time", "wire", "proto"]),
    ("sim", &["config", "error", "time", "wire", "proto"]),
    ("control", &["config", "error", "time", "wire", "proto"]),
    ("bench", &["config", "error", "time", "wire", "proto"]),
    ("node", &["config", "error", "time", "wire", "proto", "net", "disk", "control"]),
    ("cli", &["config", "error", "time", "wire", "proto", "net", "disk", "control", "node", "sim", "bench"]),
    ("main", &["cli"]),
];

/// What no line of a pure room may hold.
const IMPURE: [&str; 9] =
    ["Instant::now", "SystemTime", "thread::", "std::fs", "std::io", "std::env", "getrandom", "TcpStream", "UdpSocket"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The room that the file belongs to: `src/net/udp.rs` and `src/net.rs` to `net`.
    fn room(&self) -> String {
        let below = self.path.strip_prefix(folder()).expect("below src");
        let first = below.components().next().expect("a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or(line)))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.strip_prefix(folder()).expect("below src").display())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules that only tests are built with: `#[cfg(test)] mod NAME;`. They may read a seed from the environment.
fn test_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]") {
            let name = pair[1].trim().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            names.extend(name.strip_prefix("mod ").and_then(|name| name.strip_suffix(';')).map(str::to_owned));
        }
    }
    names
}

/// Every source file that is built into the program.
fn sources() -> Vec<Source> {
    let mut sources = all_sources();
    let tests = test_modules(&sources);
    let named = |path: &Path| {
        let below = path.strip_prefix(folder()).expect("below src").with_extension("");
        below.components().any(|part| tests.contains(part.as_os_str().to_string_lossy().as_ref()))
    };
    sources.retain(|source| !named(&source.path));
    assert!(sources.len() > 10, "the sources are here");
    sources
}

fn all_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![folder()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

/// The rooms that a line names after `crate::`, in braces too.
fn imported(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let several = rest.starts_with('{');
        for name in names.split(',').take(if several { usize::MAX } else { 1 }) {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let room = source.room();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
            assert_eq!(room, "lib", "{room} is no room: add it to IMPORTS, with what it may import");
            continue;
        };
        for (line, code) in source.code() {
            for import in imported(code) {
                seen += 1;
                if import != room && !allowed.contains(&import.as_str()) {
                    wrong.push(format!("{} imports {import}", source.at(line)));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were seen");
    assert!(wrong.is_empty(), "against DESIGN's order: {wrong:#?}");
}

/// Test code that is no part of a machine: it may read which seeds it is asked for.
const TEST_ONLY: [&str; 1] = ["src/proto/super_peer/flood/chaos.rs"];

#[test]
fn the_machines_touch_nothing_of_the_world() {
    let mut wrong = Vec::new();
    let is_test = |source: &Source| TEST_ONLY.iter().any(|path| source.path.ends_with(path));
    let pure =
        |source: &&Source| ["proto", "sim", "wire", "bench"].contains(&source.room().as_str()) && !is_test(source);
    for source in sources().iter().filter(pure) {
        for (line, code) in source.code() {
            let found = IMPURE.iter().find(|impure| code.contains(**impure));
            wrong.extend(found.map(|impure| format!("{}: {impure}", source.at(line))));
        }
    }
    assert!(wrong.is_empty(), "no clock, no randomness, no IO in there: {wrong:#?}");
}

#[test]
fn mio_lives_in_net_and_nothing_below_cli_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        for (line, code) in source.code() {
            let mio = code.contains("mio::") && !["net", "node"].contains(&room.as_str());
            let prints = ["println!", "print!(", "stdout()", "stderr()"].iter().any(|print| code.contains(print));
            if mio || (prints && room != "cli") {
                wrong.push(format!("{}: {}", source.at(line), code.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One file has a measured reason, which it gives; the lint is denied everywhere else, and nobody else may allow it.
#[test]
fn one_file_only_is_unsafe() {
    let unsafe_word = concat!("un", "safe");
    let allowed = folder().join("disk/md5_lanes/width.rs");
    let mut seen = false;
    for source in all_sources() {
        for (n, line) in source.code() {
            let has = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == unsafe_word || word == format!("{unsafe_word}_code") || word == "target_feature");
            assert!(!has || source.path == allowed, "{}: {line}", source.at(n));
            seen |= has;
        }
    }
    assert!(seen, "the file that is allowed to has some");
}

/// A deliberate fault whose code has moved would be caught by nobody.
#[test]
fn every_mutant_fits_the_code_in_one_place() {
    let mutants = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let mut seen = 0;
    for entry in fs::read_dir(mutants).expect("the mutants are there").flatten() {
        let mutant = fs::read_to_string(entry.path()).expect("text");
        let file = mutant.lines().find_map(|line| line.strip_prefix("file: ")).expect("a file");
        let (_, change) = mutant.split_once("--- old\n").expect("what was there");
        let (old, _) = change.split_once("\n--- new\n").expect("what comes in its place");
        let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the file is there");
        assert_eq!(code.matches(old).count(), 1, "{}: {file}", entry.path().display());
        seen += 1;
    }
    assert!(seen > 10, "only {seen} mutants");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "without a module doc: {silent:#?}");
}

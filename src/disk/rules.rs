//! The rules of `.spratignore` files, in the syntax of gitignore. A file applies to its folder and
//! all folders below it. The rules of the deepest folder win; within a file the last rule that
//! matches wins. Nothing below a folder that is left out can be included again.
//!
//! If such a file cannot be read, nothing of its folder is shared: a file that should be left out
//! must never be shared by mistake.

use std::collections::BTreeMap;
use std::io::{self, Read};

use gix_glob::pattern::Case;
use gix_glob::{Pattern, wildmatch};
use rustix::io::Errno;

use super::folder::{Folder, is_starved};
use super::names::RULES_NAME;
use crate::config::{RULES_BYTES_MAX, RULES_FILES_MAX};

/// The rules below one share, by the folder in which they are.
#[derive(Debug, Default)]
pub(super) struct Rules {
    folders: BTreeMap<String, Rule>,
}

#[derive(Debug)]
enum Rule {
    /// The patterns in the order of the file. The last pattern that matches wins.
    Patterns(Vec<Pattern>),
    /// The file cannot be read, so everything is left out.
    Everything,
}

/// The result of reading the rules of a folder.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The rules were read, or the folder has none.
    Done,
    /// The rules cannot be read, so nothing in the folder is shared.
    Refused(String),
    /// Descriptors or memory are missing. The earlier rules stay.
    Starved,
}

impl Rules {
    /// Reads the rules of a folder. They replace its earlier rules.
    pub(super) fn load(&mut self, share: &Folder, folder: &str) -> Loaded {
        let path = if folder.is_empty() { RULES_NAME.to_owned() } else { format!("{folder}/{RULES_NAME}") };
        let text = match share.open_file(&path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.folders.remove(folder);
                return Loaded::Done;
            }
            Err(error) if is_starved(error) => return Loaded::Starved,
            Err(error) => Err(io::Error::from(error).to_string()),
            Ok((_, stamp)) if stamp.size > RULES_BYTES_MAX => Err(format!("it is larger than {RULES_BYTES_MAX} bytes")),
            Ok(_) if self.folders.len() >= RULES_FILES_MAX && !self.folders.contains_key(folder) => {
                Err(format!("a share may have {RULES_FILES_MAX} of them"))
            }
            Ok((file, _)) => {
                let mut bytes = Vec::new();
                // Another process may write to the file while it is read.
                let read = file.take(RULES_BYTES_MAX).read_to_end(&mut bytes);
                read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
            }
        };
        match text {
            Ok(text) => {
                self.folders.insert(folder.to_owned(), Rule::Patterns(compile(&text, &path)));
                Loaded::Done
            }
            Err(why) => {
                self.folders.insert(folder.to_owned(), Rule::Everything);
                Loaded::Refused(why)
            }
        }
    }

    /// There is no folder at this path.
    pub(super) fn forget_below(&mut self, folder: &str) {
        if !self.folders.is_empty() {
            let prefix = format!("{folder}/");
            self.folders.retain(|path, _| path != folder && !path.starts_with(&prefix));
        }
    }

    /// Whether the rules leave out this path, or a folder above it.
    pub(super) fn ignore(&self, path: &str, is_folder: bool) -> bool {
        if self.folders.is_empty() {
            return false;
        }
        let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        above.into_iter().any(|folder| self.ignore_entry(folder, true)) || self.ignore_entry(path, is_folder)
    }

    /// Whether the rules leave out this entry of a folder that is shared.
    pub(super) fn ignore_entry(&self, path: &str, is_folder: bool) -> bool {
        if self.folders.is_empty() {
            return false;
        }
        let slashes = path.rmatch_indices('/').map(|(slash, _)| (&path[..slash], &path[slash + 1..]));
        for (folder, below) in slashes.chain([("", path)]) {
            match self.folders.get(folder) {
                Some(Rule::Everything) => return true,
                Some(Rule::Patterns(patterns)) => {
                    if let Some(found) = patterns.iter().rfind(|pattern| fits(pattern, below, is_folder)) {
                        return !found.is_negative();
                    }
                }
                None => {}
            }
        }
        false
    }
}

/// The patterns of a file. A pattern that is not valid is reported and matches nothing, as in git.
fn compile(text: &str, path: &str) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
        if line.starts_with('#') {
            continue;
        }
        let line = if line.ends_with("\\ ") { line } else { line.trim_end() };
        if ends_within(line.as_bytes()) {
            let path = crate::wire::name::printable(path);
            log::warn!("line {number} of {path} is left out: it ends within brackets or after a backslash");
        } else {
            patterns.extend(Pattern::from_bytes(line.as_bytes()));
        }
    }
    patterns
}

/// Whether a pattern ends within brackets or after a backslash.
fn ends_within(pattern: &[u8]) -> bool {
    let mut rest = pattern;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', []) => return true,
            (b'\\', [_, after @ ..]) => after,
            (b'[', [b'!' | b'^', set @ ..] | set) => match end_of_set(set) {
                Some(after) => after,
                None => return true,
            },
            _ => after,
        };
    }
    false
}

/// The rest after the bracket that closes a set. A closing bracket at the start of the set is a
/// member of the set.
fn end_of_set(set: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut is_first) = (set, true);
    loop {
        rest = match rest {
            [] | [b'\\'] => return None,
            [b'\\', _, after @ ..] => after,
            [b']', after @ ..] if !is_first => return Some(after),
            [b'[', b':', after @ ..] => match after.windows(2).position(|end| end == b":]") {
                Some(end) => &after[end + 2..],
                None => after,
            },
            [_, after @ ..] => after,
        };
        is_first = false;
    }
}

fn fits(pattern: &Pattern, path: &str, is_folder: bool) -> bool {
    let name = path.rfind('/').map(|slash| slash + 1);
    let mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
    pattern.matches_repo_relative_path(path.into(), name, Some(is_folder), Case::Sensitive, mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Rules that are read from these files.
    fn rules(top: &Path, files: &[(&str, &str)]) -> Rules {
        let mut rules = Rules::default();
        for (folder, text) in files {
            fs::create_dir_all(top.join(folder)).unwrap();
            fs::write(top.join(folder).join(RULES_NAME), text).unwrap();
        }
        let share = Folder::open(top).unwrap();
        for (folder, _) in files {
            assert!(matches!(rules.load(&share, folder), Loaded::Done));
        }
        rules
    }

    #[test]
    fn the_syntax_is_that_of_gitignore() {
        let top = tempfile::tempdir().unwrap();
        let text = "# comment\n*.tmp\n!keep.tmp\n/only-top\nbuild/\na/**/z\n\\#hash\ntrailing \nraw?.[ch]\r\n\\!bang\n\
                    **/deep\nall/**\nd/*.o\n[[:digit:]x-z]].[!ch]\n\n   \nspace\\ \nS*p\n*\\*\n";
        let rules = rules(top.path(), &[("", text)]);
        for (path, is_folder, ignored) in [
            ("x.tmp", false, true),
            ("deep/er/x.tmp", false, true),
            ("keep.tmp", false, false),
            ("only-top", false, true),
            ("sub/only-top", false, false),
            ("build", true, true),
            ("build", false, false),
            ("src/build/x", false, true),
            ("a/b/c/z", false, true),
            ("#hash", false, true),
            ("trailing", false, true),
            ("raw1.c", false, true),
            ("raw1.x", false, false),
            ("!bang", false, true),
            ("bang", false, false),
            ("deep", false, true),
            ("very/very/deep", false, true),
            ("all", true, false),
            ("all/of/it", false, true),
            ("d/x.o", false, true),
            ("d/e/x.o", false, false),
            ("e/d/x.o", false, false),
            ("7].o", false, true),
            ("y].o", false, true),
            ("7].c", false, false),
            ("w].o", false, false),
            ("space ", false, true),
            ("space", false, false),
            ("a/Stop", false, true),
            ("stop", false, false),
            ("star*", false, true),
            ("star", false, false),
            ("{x,y}", false, false),
        ] {
            assert_eq!(rules.ignore(path, is_folder), ignored, "{path}");
        }
    }

    #[test]
    fn a_deeper_file_wins_but_not_below_a_folder_that_is_left_out() {
        let top = tempfile::tempdir().unwrap();
        let files = [("", "*.log\nout/\n"), ("a", "!important.log\n/secret\n"), ("out", "!*\n")];
        let rules = rules(top.path(), &files);
        for (path, ignored) in [
            ("a/important.log", false),
            ("a/b/important.log", false),
            ("a/other.log", true),
            ("important.log", true),
            ("a/secret", true),
            ("secret", false),
            ("out/x", true),
        ] {
            assert_eq!(rules.ignore(path, false), ignored, "{path}");
        }
    }

    #[test]
    fn a_folder_whose_rules_cannot_be_read_is_not_shared() {
        let top = tempfile::tempdir().unwrap();
        let share = Folder::open(top.path()).unwrap();
        let mut rules = Rules::default();
        fs::create_dir_all(top.path().join("a")).unwrap();
        for case in ["symlink", "folder", "large"] {
            let path = top.path().join("a").join(RULES_NAME);
            match case {
                "symlink" => std::os::unix::fs::symlink("elsewhere", &path).unwrap(),
                "folder" => fs::create_dir(&path).unwrap(),
                _ => fs::write(&path, vec![b'\n'; RULES_BYTES_MAX as usize + 1]).unwrap(),
            }
            assert!(matches!(rules.load(&share, "a"), Loaded::Refused(_)), "{case}");
            assert!(rules.ignore("a/b/c", false) && !rules.ignore("b", false), "{case}");
            if case == "folder" {
                fs::remove_dir(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            assert!(matches!(rules.load(&share, "a"), Loaded::Done));
            assert!(!rules.ignore("a/b/c", false), "{case}");
        }
    }

    #[test]
    fn a_line_that_is_not_valid_leaves_the_others() {
        let top = tempfile::tempdir().unwrap();
        let rules = rules(top.path(), &[("", "a[\n{x\n*.tmp\nb\\\n")]);
        assert!(rules.ignore("x.tmp", false) && rules.ignore("{x", false));
        assert!(!rules.ignore("a", false) && !rules.ignore("a[", false) && !rules.ignore("b", false));
        for (pattern, is_valid) in
            [("[]]", true), ("[!]]x", true), ("[]", false), ("[[:alpha:]", false), ("[[:alpha:]]", true), ("\\[", true)]
        {
            assert_eq!(!ends_within(pattern.as_bytes()), is_valid, "{pattern}");
        }
    }
}

//! Why files of a command failed. A full disk fails all of them for one cause, which is then named
//! once, with the number of its files.

use crate::config::{BATCH_CAUSES_NAMED, BATCH_FILES_NAMED};
use crate::proto::event::cause_of;

/// The first causes, in the order of their first files.
#[derive(Debug, Default)]
pub(super) struct Causes {
    causes: Vec<Cause>,
    /// Files with other causes.
    others: u64,
}

#[derive(Debug)]
struct Cause {
    exit: u8,
    cause: String,
    /// The complete sentence about the first file.
    first: String,
    /// The first files that have a name.
    names: Vec<String>,
    files: u64,
}

impl Causes {
    pub(super) fn add(&mut self, exit: u8, path: Option<&str>, why: String) {
        let cause = path.map_or(why.as_str(), |path| cause_of(path, &why));
        let name = path.map(|path| format!("{path:?}"));
        if let Some(known) = self.causes.iter_mut().find(|known| known.cause == cause) {
            known.files += 1;
            known.names.extend(name.filter(|_| known.names.len() < BATCH_FILES_NAMED));
        } else if self.causes.len() < BATCH_CAUSES_NAMED {
            let (cause, names) = (cause.to_owned(), name.into_iter().collect());
            self.causes.push(Cause { exit, cause, first: why, names, files: 1 });
        } else {
            self.others += 1;
        }
    }

    /// The exit code of the first file that failed.
    pub(super) fn first_exit(&self) -> Option<u8> {
        self.causes.first().map(|cause| cause.exit)
    }

    pub(super) fn sentence(&self) -> String {
        let mut parts: Vec<String> = self.causes.iter().map(Cause::sentence).collect();
        if self.others > 0 {
            parts.push(format!("and {} more", self.others));
        }
        parts.join("; ")
    }
}

impl Cause {
    fn sentence(&self) -> String {
        let Cause { cause, first, names, files, exit: _ } = self;
        let unnamed = files - names.len() as u64;
        match (names.as_slice(), unnamed) {
            ([], 1) => first.clone(),
            ([], files) => format!("{files} files: {cause}"),
            ([name], 0) => format!("{name}: {first}"),
            (names, 0) => format!("{}: {cause}", names.join(", ")),
            (names, more) => format!("{} and {more} more: {cause}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(failures: &[(Option<&str>, &str)]) -> String {
        let mut causes = Causes::default();
        failures.iter().for_each(|(path, why)| causes.add(9, *path, (*why).to_owned()));
        causes.sentence()
    }

    #[test]
    fn a_cause_of_many_files_is_named_once() {
        let paths: Vec<String> = (0..60).map(|n| format!("d/f{n}")).collect();
        let whys: Vec<String> = paths.iter().map(|path| format!("/x/{path}: no space")).collect();
        let all: Vec<_> = paths.iter().map(String::as_str).map(Some).zip(whys.iter().map(String::as_str)).collect();
        assert_eq!(sentence(&all[..1]), "\"d/f0\": /x/d/f0: no space");
        assert_eq!(sentence(&all[..3]), "\"d/f0\", \"d/f1\", \"d/f2\": no space");
        assert_eq!(sentence(&all), "\"d/f0\", \"d/f1\", \"d/f2\" and 57 more: no space");
    }

    #[test]
    fn other_causes_are_named_beside_it() {
        let failures = [(Some("a"), "no source"), (None, "two contents: b"), (Some("c"), "no source")];
        assert_eq!(sentence(&failures), "\"a\", \"c\": no source; two contents: b");
        assert_eq!(sentence(&[(None, "stopped"), (None, "stopped")]), "2 files: stopped");
        let many: Vec<String> = (0..BATCH_CAUSES_NAMED + 2).map(|n| format!("cause {n}")).collect();
        let many: Vec<_> = many.iter().map(|why| (None, why.as_str())).collect();
        assert!(sentence(&many).ends_with("cause 7; and 2 more"));
    }
}

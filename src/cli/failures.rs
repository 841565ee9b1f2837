//! Which files of a command are shown to a user as failed. If many fail for one cause, as on a full
//! disk, only the first are: the end of the command names the cause and the number of its files.

use std::collections::BTreeMap;

use super::format::failed_item;
use crate::config::{BATCH_CAUSES_NAMED, BATCH_FILES_NAMED};
use crate::proto::event::{ItemReport, cause_of};

/// The causes of the files that have failed, and how many files each has.
#[derive(Debug, Default)]
pub(crate) struct Failures(BTreeMap<String, usize>);

impl Failures {
    /// The line about a file that has failed, if it is shown.
    pub(crate) fn line(&mut self, item: &ItemReport) -> Option<String> {
        let cause = cause_of(&item.name, item.error.as_deref().unwrap_or_default());
        let files = match self.0.get_mut(cause) {
            Some(files) => {
                *files += 1;
                *files
            }
            None => {
                if self.0.len() < BATCH_CAUSES_NAMED {
                    self.0.insert(cause.to_owned(), 1);
                }
                1
            }
        };
        match files.checked_sub(BATCH_FILES_NAMED) {
            None | Some(0) => Some(failed_item(item)),
            Some(1) => Some("more files fail for this reason; they are counted at the end".to_owned()),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Root;

    fn lines(failures: &[(&str, &str)]) -> usize {
        let mut shown = Failures::default();
        let item = |name: &str, error: &str| ItemReport {
            name: name.to_owned(),
            path: None,
            size: 0,
            root: Root([0; 32]),
            exit: 9,
            error: Some(error.to_owned()),
        };
        failures.iter().filter_map(|(name, error)| shown.line(&item(name, error))).count()
    }

    #[test]
    fn many_files_with_one_cause_make_few_lines() {
        let names: Vec<String> = (0..60).map(|n| format!("f{n}")).collect();
        let errors: Vec<String> = names.iter().map(|name| format!("/x/{name}: no space")).collect();
        let same: Vec<_> = names.iter().map(String::as_str).zip(errors.iter().map(String::as_str)).collect();
        assert_eq!(lines(&same), BATCH_FILES_NAMED + 1);
        let other: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
        assert_eq!(lines(&other), 60);
    }
}

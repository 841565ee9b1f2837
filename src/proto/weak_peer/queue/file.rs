//! The file of the queue, `downloads.jsonl`: one JSON object per line. It converts from and to
//! text, and does not touch the file itself.
//!
//! ```text
//! {"sprat":"downloads","v":1,"next":5}
//! {"id":3,"state":"queued","get":{"what":"a name","verify":"both"},"root":"…","path":"/a name"}
//! ```
//!
//! `v` is the version of the format. A file of a newer version is not read: if it were written
//! again, data that only the newer version knows would be lost.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Known, State, Why};
use crate::proto::command::Get;

/// The version that is written, and the newest one that is read.
const VERSION: u64 = 1;
const KIND: &str = "downloads";

#[derive(Serialize, Deserialize)]
struct Head {
    sprat: String,
    v: u64,
    #[serde(default)]
    next: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EntryState {
    Queued,
    Paused,
    Done,
    Failed,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: u64,
    state: EntryState,
    get: Get,
    #[serde(flatten)]
    known: Known,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
    /// Bytes that were verified when the file was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// The queue as the file has it.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The number of the next download.
    pub(super) next: u64,
    pub(super) entries: Vec<(u64, Entry)>,
    /// Lines that could not be read.
    pub damaged: usize,
}

/// A version of the format that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newer {
    /// The version of the file.
    pub version: u64,
    /// The newest version that this program reads.
    pub known: u64,
}

impl Saved {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// If a newer version of the program has written it.
    pub fn parse(text: &str) -> Result<Saved, Newer> {
        let mut lines = text.lines();
        let head = lines.next().and_then(|line| serde_json::from_str::<Head>(line).ok());
        let Some(head) = head.filter(|head| head.sprat == KIND) else {
            return Ok(Saved { damaged: text.lines().count().max(1), ..Saved::default() });
        };
        if head.v > VERSION {
            return Err(Newer { version: head.v, known: VERSION });
        }
        let mut saved = Saved { next: head.next, ..Saved::default() };
        for line in lines {
            match serde_json::from_str::<Line>(line) {
                Ok(line) if line.id < u64::MAX && saved.entries.iter().all(|(id, _)| *id != line.id) => saved.add(line),
                Ok(_) | Err(_) => saved.damaged += 1,
            }
        }
        Ok(saved)
    }

    fn add(&mut self, line: Line) {
        let Line { id, state, get, known, why, bytes } = line;
        let state = match state {
            EntryState::Queued => State::Queued,
            EntryState::Paused => State::Paused(why),
            EntryState::Done => State::Done,
            EntryState::Failed => State::Failed(why.unwrap_or(Why { exit: 1, error: "failed".to_owned() })),
        };
        // The client that ordered it is gone, so it stays without a source too.
        let bytes = bytes.unwrap_or(0);
        self.entries.push((id, Entry { known, stays: true, bytes, ..Entry::new(get, state) }));
        self.next = self.next.max(id + 1);
    }
}

/// All lines of the file.
pub(super) fn text<'a>(next: u64, entries: impl Iterator<Item = (&'a u64, &'a Entry)>) -> String {
    // A path that is not UTF-8 has no JSON form. No such path comes here: commands are JSON, or
    // come from the command line, which refuses such a path.
    let mut text = serde_json::to_string(&Head { sprat: KIND.to_owned(), v: VERSION, next }).unwrap_or_default();
    for (id, entry) in entries {
        let (state, why) = match &entry.state {
            State::Queued | State::Running { .. } | State::Waiting { .. } => (EntryState::Queued, None),
            State::Paused(why) => (EntryState::Paused, why.clone()),
            State::Done => (EntryState::Done, None),
            State::Failed(why) => (EntryState::Failed, Some(why.clone())),
        };
        let (get, known, bytes) =
            (entry.get.clone(), entry.known.clone(), Some(entry.bytes).filter(|bytes| *bytes > 0));
        let line = Line { id: *id, state, get, known, why, bytes };
        if let Ok(line) = serde_json::to_string(&line) {
            text.push('\n');
            text.push_str(&line);
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: u64) -> Saved {
        let line = format!("{{\"id\":{id},\"state\":\"queued\",\"get\":{{\"what\":\"x\"}}}}");
        Saved::parse(&format!("{{\"sprat\":\"downloads\",\"v\":1,\"next\":1}}\n{line}\n")).unwrap()
    }

    #[test]
    fn a_download_above_the_next_number_is_kept_and_raises_it() {
        let saved = parse(7);
        assert_eq!((saved.damaged, saved.next, saved.entries.len()), (0, 8, 1));
        assert_eq!(parse(u64::MAX).damaged, 1, "no number can come after it");
    }
}

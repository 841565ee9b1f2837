//! `sprat events`.

use std::io::ErrorKind;

use serde::Deserialize;

use super::args::Events;
use super::format::{self, count};
use super::output;
use super::talk::Talk;
use super::units::Size;
use crate::control::Reply;
use crate::error::{Exit, Failure};
use crate::proto::Happening;
use crate::wire::name::printable;

/// A line with its time.
#[derive(Deserialize)]
struct Timed {
    time: String,
    #[serde(flatten)]
    reply: Reply,
}

/// Runs the command. It ends when the daemon ends.
pub(crate) fn run(args: &Events) -> Result<u8, Failure> {
    let mut talk = Talk::open(args.asked())?;
    // Without a number, `--once` prints all events that are kept.
    let since = args.since.or_else(|| args.once.then_some(0));
    let request = serde_json::json!({ "cmd": "events", "since": since, "follow": !args.once });
    talk.send(&request.to_string())?;
    loop {
        let Some(line) = talk.next(None)? else { continue };
        let Timed { time, reply } = serde_json::from_str(&line).map_err(|error| talk.garbled(&error))?;
        let text = match reply {
            Reply::Done(outcome) => {
                if args.json {
                    printed(&line)?;
                }
                outcome.error.iter().for_each(|error| output::error(error));
                return Ok(outcome.exit);
            }
            Reply::Node { .. } | Reply::Gap { .. } if args.json => line,
            Reply::Node { seq, what } => format!("{time}  {seq:>6}  {}", sentence(&what)),
            Reply::Gap { first, last } => format!("{time}  events {first} to {last} are gone"),
        };
        if !printed(&text)? {
            return Ok(Exit::Ok.code());
        }
    }
}

/// Prints a line. Returns `false` if a reader such as `| head` has read enough.
fn printed(text: &str) -> Result<bool, Failure> {
    match output::line(text) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Internal, format!("cannot write to standard output: {error}"))),
    }
}

/// A sentence about an event.
fn sentence(what: &Happening) -> String {
    let because = |why: &Option<String>| why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let text = match what {
        Happening::Welcomed { super_peer } => format!("welcomed by super peer {super_peer}"),
        Happening::SessionLost { super_peer, why } => format!("lost super peer {super_peer}: {why}"),
        Happening::Link { neighbor, up, .. } => format!("link to {neighbor} is {}", if *up { "up" } else { "down" }),
        Happening::Peer { peer, files, left, .. } => {
            let files = files.map(|files| format!(" with {}", count(files, "file"))).unwrap_or_default();
            let did = if left.is_some() { "left" } else { "came" };
            format!("peer {peer} {did}{files}{}", because(left))
        }
        Happening::MorePeers { came, left } => format!("{came} more peers came and {left} left"),
        Happening::Share { files, bytes, added, removed } => {
            let (files, size) = (count(*files, "file"), Size(*bytes));
            format!("the share has {files}, {size}: {added} added or changed, {removed} removed")
        }
        Happening::Download { id, state, what, name, error, .. } => {
            let (name, word) = (name.as_ref().unwrap_or(what), format::download_word(*state));
            format!("download {id}: {name} is {word}{}", because(error))
        }
        Happening::Source { download, source, state, why, .. } => {
            format!("download {download}: source {source} is {}{}", format::state_word(*state), because(why))
        }
        Happening::Log { level, text } => format!("{level}: {text}"),
    };
    printable(&text)
}

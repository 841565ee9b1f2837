//! `sprat wait`: waits until a search has enough hits, or until the downloads of a running peer
//! have ended.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use super::args::Wait;
use super::format::count;
use super::talk::Talk;
use super::units::Span;
use super::{oneshot, output, query};
use crate::config::QUERY_HITS_MAX;
use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::event::{DownloadReport, DownloadState, Outcome};
use crate::proto::{ClientEvent, Command};
use crate::wire::{QueryKind, Search};

/// The pause between two searches.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause between two looks at the queue, if no event comes.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The number of the request for the events.
const FOLLOWED: u64 = 0;

/// Runs the command.
pub(crate) fn run(args: &Wait) -> Result<u8, Failure> {
    let until = args.timeout.filter(|Span(timeout)| !timeout.is_zero());
    let until = until.and_then(|Span(timeout)| Instant::now().checked_add(timeout));
    let outcome = if args.downloads { for_downloads(args, until) } else { for_hits(args, until) }?;
    if args.json {
        let line = control::event_line(&ClientEvent::Done(outcome.clone()), SystemTime::now());
        output::line(&line).map_err(|e| Failure::new(Exit::Internal, format!("cannot write the output: {e}")))?;
    }
    outcome.error.iter().for_each(|error| output::error(error));
    Ok(outcome.exit)
}

/// Repeats the search until there are enough hits.
fn for_hits(args: &Wait, until: Option<Instant>) -> Result<Outcome, Failure> {
    let scope = oneshot::scope(args.search())?;
    if args.pattern.is_empty() {
        return Err(Failure::usage("name what to wait for, or give --downloads"));
    }
    let least = args.hits.unwrap_or(1);
    if least == 0 || least as usize > QUERY_HITS_MAX {
        return Err(Failure::usage(format!("--hits is a number from 1 to {QUERY_HITS_MAX}")));
    }
    let pattern = query::checked_pattern(args.pattern.join(" "))?;
    let kind = if args.exact { QueryKind::Exact } else { QueryKind::of(&pattern) };
    let search = Search { limit: Some(least), ..Search::new(pattern, kind) };
    let command = control::command_line(&Command::Query { search, scope });
    let mut talk = Talk::open(args.asked())?;
    let mut found = 0;
    loop {
        talk.send(&command)?;
        let mut hits = 0;
        let done = loop {
            let Some(line) = talk.next(until)? else { return Ok(timed_out(found, "hit")) };
            let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
            if let ClientEvent::Hit { .. } = event {
                hits += 1;
            } else if let ClientEvent::Done(outcome) = event {
                break outcome;
            }
        };
        found = hits;
        if hits >= least {
            return Ok(Outcome { ok: true, hits: Some(hits), ..Outcome::default() });
        }
        // If the peer refuses the search now, it will also refuse it later.
        if [Exit::Usage, Exit::LoginRejected, Exit::Version].map(Exit::code).contains(&done.exit) {
            return Ok(done);
        }
        let pause = until.map_or(PAUSE, |until| PAUSE.min(until.saturating_duration_since(Instant::now())));
        if pause.is_zero() {
            return Ok(timed_out(found, "hit"));
        }
        thread::sleep(pause);
    }
}

/// A line of an answer, with the number of its request.
#[derive(Deserialize)]
struct Answer {
    req: Option<u64>,
    event: String,
}

/// Lists the queue after each event of a download, until no download runs or waits.
fn for_downloads(args: &Wait, until: Option<Instant>) -> Result<Outcome, Failure> {
    if !args.pattern.is_empty() || args.hits.is_some() || args.exact {
        return Err(Failure::usage("--downloads and a pattern exclude each other; give one of them"));
    }
    let mut talk = Talk::open(args.asked())?;
    talk.send(&format!(r#"{{"req":{FOLLOWED},"cmd":"events"}}"#))?;
    let mut awaited = BTreeSet::new();
    for req in FOLLOWED + 1.. {
        talk.send(&format!(r#"{{"req":{req},"cmd":"downloads"}}"#))?;
        let mut listed: Vec<DownloadReport> = Vec::new();
        let mut changed = false;
        let mut is_listed = false;
        // Not every change has an event: `cancel`, for example, has none.
        let again = Instant::now() + LOOK_AGAIN;
        while !(is_listed && changed) {
            let due = if is_listed { Some(until.map_or(again, |until| until.min(again))) } else { until };
            let Some(line) = talk.next(due)? else {
                if until.is_some_and(|until| until <= Instant::now()) {
                    return Ok(timed_out(u32::try_from(awaited.len()).unwrap_or(u32::MAX), "download"));
                }
                break;
            };
            let Answer { req: of, event } = serde_json::from_str(&line).map_err(|error| talk.garbled(&error))?;
            if of == Some(FOLLOWED) && event == "node" {
                // The list that was requested before may be older than this event.
                changed |= line.contains(r#""kind":"download""#);
                continue;
            }
            let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
            if let ClientEvent::Download(report) = event {
                listed.push(report);
            } else if let ClientEvent::Done(outcome) = event {
                if outcome.exit != 0 {
                    return Ok(outcome);
                }
                is_listed = true;
                let going = |report: &&DownloadReport| goes_on(report.state);
                awaited.extend(listed.iter().filter(going).map(|report| report.id));
                if !listed.iter().any(|report| goes_on(report.state)) {
                    return Ok(ended(&awaited, &listed));
                }
            }
        }
    }
    unreachable!("the numbers of requests do not end");
}

fn goes_on(state: DownloadState) -> bool {
    match state {
        DownloadState::Queued | DownloadState::Running | DownloadState::Waiting => true,
        DownloadState::Paused | DownloadState::Done | DownloadState::Failed | DownloadState::Canceled => false,
    }
}

/// The result. Some of the downloads may have failed or be paused.
fn ended(awaited: &BTreeSet<u64>, listed: &[DownloadReport]) -> Outcome {
    let is_bad = |report: &&DownloadReport| {
        awaited.contains(&report.id) && matches!(report.state, DownloadState::Failed | DownloadState::Paused)
    };
    let bad = listed.iter().filter(is_bad).count() as u64;
    if bad == 0 {
        return Outcome { ok: true, ..Outcome::default() };
    }
    let why = format!("{} did not end well; `sprat downloads` has the reasons", count(bad, "download"));
    Outcome::failed(&Failure::new(Exit::Partial, why))
}

fn timed_out(found: u32, noun: &str) -> Outcome {
    let state = match noun {
        "hit" => format!("{} found", count(u64::from(found), noun)),
        _ => format!("{} not over", count(u64::from(found), noun)),
    };
    Outcome::failed(&Failure::new(Exit::TimedOut, format!("not in time: {state}")))
}

//! `sprat query`.

use super::args::Query;
use super::oneshot::{self, Target};
use super::pasted;
use super::present::{Kind, Presenter};
use crate::config::{PATTERN_BYTES_MAX, QUERY_HITS_MAX};
use crate::error::Failure;
use crate::proto::Command;
use crate::wire::name::typed;
use crate::wire::{QueryKind, Search};

/// Runs the command.
pub(crate) fn run(args: Query) -> Result<u8, Failure> {
    let target = Target::here_or_near(args.asked())?;
    let scope = oneshot::scope(args.search())?;
    // Words without quotes form one pattern, as at the prompt.
    let pattern = [&[args.pattern][..], &args.also].concat().join(" ");
    let uri = if args.exact { None } else { pasted::uri(&pattern).unwrap_or_default() };
    let pattern = uri.map_or(pattern, |uri| uri.root.to_string());
    let kind = if args.exact { QueryKind::Exact } else { QueryKind::of(&pattern) };
    let (min, max) = (args.min_size.map(|size| size.0), args.max_size.map(|size| size.0));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(Failure::usage("--min-size is above --max-size, so nothing can fit"));
    }
    if args.limit.is_some_and(|limit| limit == 0 || limit as usize > QUERY_HITS_MAX) {
        return Err(Failure::usage(format!("--limit is a number from 1 to {QUERY_HITS_MAX}")));
    }
    let pattern = checked_pattern(pattern)?;
    let search = Search { min, max, limit: args.limit, partial: args.partial, ..Search::new(pattern, kind) };
    let mut presenter = Presenter::new(Kind::Query { search: search.clone() }, args.json, args.quiet);
    oneshot::run(target, Command::Query { search, scope }, &mut presenter)
}

/// Checks that a pattern is neither empty nor too long for a QUERY.
pub(crate) fn checked_pattern(pattern: String) -> Result<String, Failure> {
    let pattern = typed(pattern);
    if (1..=PATTERN_BYTES_MAX).contains(&pattern.len()) {
        Ok(pattern)
    } else {
        let length = pattern.len();
        let remedy = "search for a part of a longer one; `sprat get` and `sprat uri` take complete paths";
        Err(Failure::usage(format!(
            "a name or pattern to search for has 1 to {PATTERN_BYTES_MAX} bytes, this one {length}; {remedy}"
        )))
    }
}

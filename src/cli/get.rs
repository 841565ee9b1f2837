//! `sprat get`.

use std::path::Path;

use super::args::Get;
use super::oneshot::{self, Target, Transfers};
use super::present::{Kind, Presenter};
use super::sink::Sink;
use super::{pasted, paths, settings, uri};
use crate::cli::units::Span;
use crate::config::{GET_BYTES_MAX, GET_NAMES_MAX, LINGER};
use crate::error::Failure;
use crate::proto::weak_peer::SwarmConfig;
use crate::proto::{Command, command};

/// Runs the command.
pub(crate) fn run(mut args: Get) -> Result<u8, Failure> {
    // The user may have pasted `sprat get URI` after `sprat get`.
    let all = [&[args.what.clone()][..], &args.also].concat().join(" ");
    if args.what == "sprat" && pasted::is_meant(&all) {
        (args.what, args.also) = (all, Vec::new());
    }
    let uri = uri::given(&args.what)?;
    if args.also.iter().any(|what| pasted::is_meant(what)) || (uri.is_some() && !args.also.is_empty()) {
        return Err(Failure::usage("a URI is fetched by a command of its own; name nothing else with it"));
    }
    let target = match &uri {
        Some(uri) => uri::target(args.asked(), uri)?,
        None => Target::here_or_near(args.asked())?,
    };
    settings::dialed("--from", &args.from)?;
    let scope = oneshot::scope(args.search())?;
    let (what, name) = match uri {
        Some(uri) => (uri.root.to_string(), uri.name),
        None => (checked(args.what)?, None),
    };
    let also = args.also.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    if also.len() >= GET_NAMES_MAX {
        return Err(Failure::usage(format!("one command gets at most {GET_NAMES_MAX} names")));
    }
    let sink = match args.out.as_deref() {
        Some(out) if out == Path::new("-") && args.json => {
            let why = "-o - writes the content to standard output, and --json the events; leave out one of them";
            return Err(Failure::usage(why));
        }
        Some(out) if out == Path::new("-") && (!also.is_empty() || what.ends_with('/')) => {
            return Err(Failure::usage("-o - writes one content to standard output; name one"));
        }
        Some(out) if out == Path::new("-") => Some(Sink::new()?),
        Some(_) | None => None,
    };
    // The path is made absolute, because a running peer has another current folder.
    let out = match args.out.as_deref() {
        Some(_) if sink.is_some() => sink.as_ref().map(Sink::destination),
        Some(out) => Some(paths::absolute("-o", out)?),
        // Then the running peer uses its folder for downloads, and a short-lived peer uses the
        // current folder.
        None => None,
    };
    let shown = name.clone().unwrap_or_else(|| what.clone());
    let mut presenter = Presenter::new(Kind::Get { what: shown }, args.json, args.quiet);
    // Without this process, a download to standard output is useless, so it does not go to the
    // queue.
    let order = if sink.is_some() { Command::Fetch } else { Command::Get };
    presenter.set_sink(sink);
    let verify = args.verify.unwrap_or_default();
    let timeout = args.timeout.map(settings::timeout_ms);
    let (from, order_of) = (args.from, args.order.unwrap_or_default());
    let get = command::Get { name, also, from, out, verify, timeout, order: order_of, scope, ..command::Get::of(what) };
    let linger = args.linger.map_or(LINGER, |Span(linger)| linger);
    let swarms = SwarmConfig { linger, zone: args.zone, ..SwarmConfig::default() };
    let limits = settings::limits(args.upload_limit, args.download_limit);
    oneshot::run_with(target, order(get), Transfers { swarms, limits }, &mut presenter)
}

fn checked(what: String) -> Result<String, Failure> {
    if command::can_name(&what) {
        Ok(what)
    } else {
        Err(Failure::usage(format!(
            "a name or path to get has 1 to {GET_BYTES_MAX} bytes, and a character other than /"
        )))
    }
}

//! `sprat status`.

use super::args::Status;
use super::oneshot::{self, Target};
use super::present::{Kind, Presenter};
use super::watch;
use crate::error::Failure;
use crate::proto::Command;

/// Runs the command.
pub(crate) fn run(args: Status) -> Result<u8, Failure> {
    if args.watch {
        return watch::run(&args);
    }
    // If only a super peer runs on this host, its status is shown.
    let target = Target::here_or_near(oneshot::node_here(args.asked())?)?;
    let mut presenter = Presenter::new(Kind::Status { counters: args.counters }, args.json, args.quiet);
    oneshot::run(target, Command::Status, &mut presenter)
}

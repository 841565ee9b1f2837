//! `sprat list`.

use super::args::List;
use super::oneshot::{self, Target};
use super::present::{Kind, Presenter};
use crate::error::Failure;
use crate::proto::Command;

/// Runs the command.
pub(crate) fn run(args: List) -> Result<u8, Failure> {
    let target = Target::here_or_near(args.asked())?;
    let (kind, command) = if args.network && args.partial {
        let why = "--partial is for the list of one super peer; search the network with query --partial";
        return Err(Failure::usage(why));
    } else if args.network {
        let scope = oneshot::scope(args.search())?;
        (Kind::Network, Command::Network { scope })
    } else if args.ttl.is_some() || args.budget.is_some() || args.policy.is_some() {
        let why = "--ttl, --budget and --policy belong to list --network; the list of one super peer has none";
        return Err(Failure::usage(why));
    } else {
        (Kind::List, Command::List { partial: args.partial })
    };
    let mut presenter = Presenter::new(kind, args.json, args.quiet);
    oneshot::run(target, command, &mut presenter)
}

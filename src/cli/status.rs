//! `sprat status`.

use super::args::Status;
use super::oneshot::{self, Target};
use super::present::{Kind, Presenter};
use super::{paths, settings};
use crate::error::Failure;
use crate::proto::Command;

/// Runs the command.
pub(crate) fn run(args: Status) -> Result<u8, Failure> {
    let mut asked = args.asked();
    let is_open = asked.supers.is_empty() && asked.control.is_none() && asked.name.is_none();
    // On the host of a super peer alone, that is the node that is meant.
    if is_open && !runs(settings::PEER_NAME)? && runs(settings::SUPER_NAME)? {
        asked.name = Some(settings::SUPER_NAME.to_owned());
    }
    let target = Target::here_or_near(asked)?;
    let mut presenter = Presenter::new(Kind::Status { counters: args.counters }, args.json, args.quiet);
    oneshot::run(target, Command::Status, &mut presenter)
}

/// Whether a daemon with this name has a control socket.
fn runs(name: &str) -> Result<bool, Failure> {
    paths::running_socket(name, &|key| std::env::var_os(key)).map(|path| path.exists())
}

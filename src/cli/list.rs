//! `sprat list`.

use super::args::List;
use super::oneshot::{self, Target};
use super::present::{Kind, Presenter};
use crate::error::Failure;
use crate::proto::Command;

/// Runs the command.
pub(crate) fn run(args: List) -> Result<u8, Failure> {
    let target = Target::new(args.supers, args.control.as_deref(), args.name.as_deref(), args.connect_timeout)?;
    let mut presenter = Presenter::new(Kind::List, args.json, args.quiet);
    oneshot::run(target, Command::List, &mut presenter)
}

//! The options of the commands about the transfers of a running peer: `downloads`, `cancel`,
//! `pause`, `resume` and `limit`.

use super::common::command;
use super::values::limit;
use crate::cli::units::Rate;

command! {
    /// List the downloads of a running peer: their numbers, states and progress. A download stays
    /// in the queue of the peer until it is done, has failed or is canceled, whatever happens to
    /// the peer or to the command that started it. A download without a source searches again after
    /// at most 5 minutes. The last 100 downloads that are done or have failed stay in the list, and
    /// `resume` continues one that has failed.
    #[argh(name = "downloads", example = "{command_name} --json")]
    Downloads {
        /// remove the part files that no download of the queue uses, in the shares and in the
        /// folder for downloads; to remove the part file of a download in the queue, cancel it
        /// first [default: off]
        #[argh(switch)]
        pub(crate) clean: bool,
    } with running, json, log(" [default: warn]", Warn)
}

command! {
    /// Remove a download from the queue of a running peer. The part file of the download stays, and
    /// the same `get` continues with this part file.
    #[argh(name = "cancel", example = "{command_name} 3")]
    Cancel {} with download, running, json, log(" [default: warn]", Warn)
}

command! {
    /// Stop a download of a running peer and keep it in the queue until `resume`.
    #[argh(name = "pause", example = "{command_name} 3")]
    Pause {} with download, running, json, log(" [default: warn]", Warn)
}

command! {
    /// Continue a download of a running peer that is paused, waits for a source or has failed.
    #[argh(name = "resume", example = "{command_name} 3")]
    Resume {} with download, running, json, log(" [default: warn]", Warn)
}

command! {
    /// Show or set the limits on the rate at which a running peer sends and receives. A limit that
    /// is set here applies until the peer ends. Without options, this command only shows the
    /// limits.
    #[argh(
        name = "limit",
        example = "{command_name}",
        example = "{command_name} --upload 1M --download 0"
    )]
    Limit {
        /// highest rate at which the peer sends file data, to all peers together, in bytes per
        /// second such as 10M, or in bits per second such as 100Mbit. 0 means no limit [default:
        /// unchanged]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) upload: Option<Rate>,

        /// highest rate at which the peer receives file data, from all sources together. 0 means no
        /// limit [default: unchanged]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) download: Option<Rate>,
    } with running, json, log(" [default: warn]", Warn)
}

//! The options of the commands about the queue of downloads of a running peer: `downloads`,
//! `cancel`, `pause` and `resume`.

use super::common::command;

command! {
    /// List the downloads of a running peer: their numbers, states and progress. A download stays
    /// in this queue until it ends or is canceled, whatever happens to the peer or to the command
    /// that started it. A download without a source searches again after at most 5 minutes.
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
    /// Take a download out of the queue of a running peer. What was fetched is kept in its part
    /// file, and the same `get` continues there.
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

//! The options of the commands about keys and accounts.

use std::path::PathBuf;

use super::common::command;

command! {
    /// Print the public key of a node of this host: the name by which others know it. The first
    /// start of a node makes its key, and so does this command.
    #[argh(
        subcommand,
        name = "id",
        help_triggers("-h", "--help"),
        example = "{command_name}",
        example = "{command_name} rotate --name super"
    )]
    Id {
        /// replace the key by a new one, which the old one signs, so that pins of the old one
        /// follow; restart the node afterwards
        #[argh(positional, arg_name = "rotate")]
        pub(crate) action: Option<String>,

        /// name of the daemon whose key it is [default: peer; super if only that one has a key]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,

        /// its state folder [default: as of `sprat peer`]
        #[argh(option, arg_name = "DIR")]
        pub(crate) state: Option<PathBuf>,
    } with json, log(" [default: warn]", Warn)
}

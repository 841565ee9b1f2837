//! The options of the commands about this program itself: its options, completions and manual.

use std::path::PathBuf;

use super::common::command;

command! {
    /// Check a configuration file, or show the values of all options of the daemons.
    #[argh(
        name = "config",
        example = "{command_name} check /etc/sprat/config.toml",
        example = "{command_name} show --origin peer",
        example = "{command_name} show --origin -- peer --parallel 2"
    )]
    Config {
        /// check: report whether a daemon would start with the file; show: print the values as a
        /// file
        #[argh(positional, arg_name = "check|show")]
        pub(crate) action: String,

        /// check: the file; show: super or peer. To add options of that daemon, write -- before
        /// super or peer
        #[argh(positional, arg_name = "FILE|super|peer")]
        pub(crate) of: Vec<String>,

        /// show: print where each value comes from [default: off]
        #[argh(switch)]
        pub(crate) origin: bool,
    } with json, log(" [default: warn]", Warn)
}

command! {
    /// Make a running daemon read its options again. Neighbors, limits, shares, operators, users
    /// and the level of the log change without the loss of a session. All other options need a
    /// restart, and the command lists which of them have changed. If an option is wrong, all old
    /// settings stay (exit 2).
    #[argh(name = "reload", example = "{command_name}", example = "{command_name} --name super")]
    Reload {
        /// the control socket of the daemon [default: the socket of the daemon called --name]
        #[argh(option, arg_name = "PATH")]
        pub(crate) control: Option<PathBuf>,

        /// name of the daemon [default: peer; super if only the super peer runs]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,
    } with json, log(" [default: warn]", Warn)
}

command! {
    /// Print the script with which a shell completes commands, options and paths.
    #[argh(name = "completions", example = "{command_name} bash > /etc/bash_completion.d/sprat")]
    Completions {
        /// the shell
        #[argh(positional, arg_name = "bash|zsh|fish")]
        pub(crate) shell: String,
    } with log(" [default: warn]", Warn)
}

command! {
    /// Write the manual pages of this program.
    #[argh(name = "man", example = "{command_name} /usr/local/share/man/man1")]
    Man {
        /// the folder for the pages, which is created if it is missing
        #[argh(positional, arg_name = "DIR")]
        pub(crate) folder: PathBuf,
    } with log(" [default: warn]", Warn)
}

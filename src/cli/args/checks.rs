//! The options of the commands that hash files of this machine and ask no other node: `hash` and
//! `verify`.

use super::common::command;

command! {
    /// Print the roots of files as `b3sum` prints them. A root is the BLAKE3 hash of the content.
    /// With --check, check the files in lists of such roots.
    #[argh(
        name = "hash",
        example = "{command_name} *.flac > roots",
        example = "{command_name} --check roots"
    )]
    Hash {
        /// the files; without FILE, or with -, standard input
        #[argh(positional, arg_name = "FILE")]
        pub(crate) files: Vec<String>,

        /// the FILEs are lists that `sprat hash` or `b3sum` has printed. For each file in a list,
        /// print whether it has the root that the list states. With -q print only the files that do
        /// not have this root [default: off]
        #[argh(switch, short = 'c')]
        pub(crate) check: bool,
    } with log(" [default: warn]", Warn)
}

command! {
    /// Check that a file or a folder is the content of a URI or of a root. The command exits with 0
    /// if it is, and with 6 if it is not. In a folder, all files that `sprat uri` would name are
    /// compared.
    #[argh(
        name = "verify",
        example = "{command_name} ~/music/holiday sprat:4b1c…,size=210,name=holiday"
    )]
    Verify {
        /// the file or folder; - is standard input
        #[argh(positional, arg_name = "PATH")]
        pub(crate) path: String,

        /// the expected content: a URI as `sprat uri` prints it, or a root (64 hex digits)
        #[argh(positional, arg_name = "URI|ROOT")]
        pub(crate) what: String,
    } with log(" [default: warn]", Warn)
}

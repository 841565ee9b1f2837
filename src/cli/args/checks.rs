//! The options of the commands that hash files of this machine and ask no other node: `hash` and
//! `verify`.

use super::common::command;

command! {
    /// Print the roots of files as `b3sum` prints them: a root is the BLAKE3 hash of the content.
    /// With --check, check the files of such lists.
    #[argh(
        name = "hash",
        example = "{command_name} *.flac > roots",
        example = "{command_name} --check roots"
    )]
    Hash {
        /// the files; - or no FILE: standard input
        #[argh(positional, arg_name = "FILE")]
        pub(crate) files: Vec<String>,

        /// the FILEs are lists that `sprat hash` or `b3sum` has printed: read each file that they
        /// name and print whether it has the root that the list states; with -q print only the
        /// files that do not have it [default: off]
        #[argh(switch, short = 'c')]
        pub(crate) check: bool,
    } with log(" [default: warn]", Warn)
}

command! {
    /// Check that a file or a folder is the content of a URI or of a root: exit 0 if it is, 6 if it
    /// is not. In a folder, all files that `sprat uri` would name are compared.
    #[argh(
        name = "verify",
        example = "{command_name} ~/music/holiday sprat:4b1c…,size=210,name=holiday"
    )]
    Verify {
        /// the file or folder; - is standard input
        #[argh(positional, arg_name = "PATH")]
        pub(crate) path: String,

        /// what it should be: a URI as `sprat uri` prints it, or a root (64 hex digits)
        #[argh(positional, arg_name = "URI|ROOT")]
        pub(crate) what: String,
    } with log(" [default: warn]", Warn)
}

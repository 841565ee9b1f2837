//! The options of the commands that follow a running daemon (`events`, `wait` and `subscribe`), and
//! of `map`.

use std::path::PathBuf;

use super::common::command;
use super::values::timeout;
use crate::cli::units::Span;

command! {
    /// Print the events of a running peer or super peer as they occur: sessions, links, peers,
    /// downloads, changes of the share, and log lines of level info and above. The events of a
    /// daemon are numbered, from 1 at the start of the daemon.
    #[argh(
        name = "events",
        example = "{command_name} --since 0 --json",
        example = "{command_name} --name super"
    )]
    Events {
        /// first print the events with a number above N. The last 256 events are kept. If events
        /// with a number above N are not kept any more, a line states their numbers [default: only
        /// events that occur from now on]
        #[argh(option, arg_name = "N")]
        pub(crate) since: Option<u64>,

        /// print the events that are kept, and end [default: follow]
        #[argh(switch)]
        pub(crate) once: bool,
    } with running, json, log(" [default: warn]", Warn)
}

command! {
    /// Wait until a search by a running peer has enough hits, or until the downloads of the peer
    /// have ended. The command exits with 0 when this has happened, with 4 if it has not happened
    /// in time, and with 8 if some downloads failed or are paused.
    #[argh(
        name = "wait",
        example = "{command_name} --exact image.iso --hits 3 --timeout 10m",
        example = "{command_name} --downloads"
    )]
    Wait {
        /// words, pattern or root; the search is repeated every second
        #[argh(positional, arg_name = "PATTERN")]
        pub(crate) pattern: Vec<String>,

        /// count only hits whose name is exactly PATTERN [default: off]
        #[argh(switch)]
        pub(crate) exact: bool,

        /// number of hits to wait for, at most 1000; each source of each file is one hit [default:
        /// 1]
        #[argh(option, arg_name = "N")]
        pub(crate) hits: Option<u32>,

        /// wait until no download of the queue runs or waits [default: off]
        #[argh(switch)]
        pub(crate) downloads: bool,

        /// fail with exit 4 after this time. With 0 the command waits without a limit [default: 0]
        #[argh(option, arg_name = "TIME", from_str_fn(timeout))]
        pub(crate) timeout: Option<Span>,
    } with search, running, json, log(" [default: warn]", Warn)
}

command! {
    /// Download each new file that matches. A file that is registered at the super peer of the
    /// running peer is downloaded at once, and any other file within about a minute. The command
    /// runs until it is interrupted. Its downloads stay in the queue of the peer. For example, a
    /// file that is copied into one share reaches all peers that subscribe.
    #[argh(
        name = "subscribe",
        example = "{command_name} 'image-*.iso'",
        example = "{command_name} '*.deb' -o /srv/deb/ --user ann --exec /usr/local/bin/install-deb"
    )]
    Subscribe {
        /// words, pattern or root; quote a pattern with `*?[`
        #[argh(positional, arg_name = "PATTERN")]
        pub(crate) pattern: Vec<String>,

        /// download only a file whose name is exactly PATTERN [default: off]
        #[argh(switch)]
        pub(crate) exact: bool,

        /// also download files that match already [default: only new files]
        #[argh(switch)]
        pub(crate) existing: bool,

        /// folder for the files [default: the running peer's folder for downloads]
        #[argh(option, short = 'o', arg_name = "DIR")]
        pub(crate) out: Option<PathBuf>,

        /// in a network with a login: download only files that this account shares [default: files
        /// of all accounts]
        #[argh(option, arg_name = "NAME")]
        pub(crate) user: Option<String>,

        /// run this program after the download of each file, for one file at a time, without a
        /// shell and without arguments. The environment of the program has SPRAT_FILE_PATH,
        /// SPRAT_FILE_ROOT and SPRAT_FILE_USER. This option needs --user [default: none]
        #[argh(option, arg_name = "PROGRAM")]
        pub(crate) exec: Option<PathBuf>,
    } with search, running, json, log(" [default: warn]", Warn)
}

command! {
    /// Show the super peers of a network and the links between them. The command asks one super
    /// peer for its links, and then each neighbor that it finds. In a network with a login, the
    /// command needs the keys of these neighbors, which super peers send only to operators. The
    /// command exits with 8 if some super peers did not answer.
    #[argh(
        name = "map",
        example = "{command_name} --super 192.0.2.1:4777 --svg > network.svg"
    )]
    Map {
        /// draw a picture for a browser [default: print a table]
        #[argh(switch)]
        pub(crate) svg: bool,

        /// print a graph for Graphviz [default: off]
        #[argh(switch)]
        pub(crate) dot: bool,
    } with asked, json, log(" [default: warn]", Warn)
}

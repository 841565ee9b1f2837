//! The options of the commands that ask a peer or a super peer and then end: `query`, `get`, `uri`,
//! `list` and `status`.

use std::path::PathBuf;

use super::common::command;
use super::values::{chunk_addr, limit, linger, order, timeout, verify, zone};
use crate::cli::units::{Rate, Size, Span};
use crate::proto::{PieceOrder, Verify};
use crate::wire::HostPort;

command! {
    /// Search the network: by words, by a pattern with `*?[`, or by a root (64 hex digits).
    #[argh(
        name = "query",
        example = "{command_name} blue train --super 192.0.2.1:4777",
        example = "{command_name} '*.flac' --min-size 10M --super 192.0.2.1:4777"
    )]
    Query {
        /// words, pattern or root; write `--` before a pattern that begins with a dash
        #[argh(positional, arg_name = "PATTERN")]
        pub(crate) pattern: String,

        /// further words of the pattern
        #[argh(positional, arg_name = "WORD")]
        pub(crate) also: Vec<String>,

        /// match only files whose name is exactly PATTERN [default: off]
        #[argh(switch)]
        pub(crate) exact: bool,

        /// also find peers that have only a part of a file and are fetching the rest; the result
        /// marks these peers [default: off]
        #[argh(switch)]
        pub(crate) partial: bool,

        /// largest number of hits to return, at most 1000 [default: 1000]
        #[argh(option, arg_name = "N")]
        pub(crate) limit: Option<u32>,

        /// match only files of at least this size, such as 10M, 4GiB or 500kB [default: none]
        #[argh(option, arg_name = "SIZE")]
        pub(crate) min_size: Option<Size>,

        /// match only files of at most this size [default: none]
        #[argh(option, arg_name = "SIZE")]
        pub(crate) max_size: Option<Size>,
    } with search, asked, json, log(" [default: warn]", Warn)
}

command! {
    /// Download a file from all its sources and verify each piece. The same command resumes an
    /// interrupted download. A running peer puts the download in its queue. If this command is
    /// interrupted, the peer continues until the download ends or `sprat cancel` removes it.
    #[argh(
        name = "get",
        example = "{command_name} blue-train.flac -o ~/music/ --super 192.0.2.1:4777"
    )]
    Get {
        /// a name or path; a root (64 hex digits); a pattern with `*?[`; a folder with a slash at
        /// its end, to download all its files; or a URI that `sprat uri` has printed, which needs
        /// no --super. If the running peer has a session with a super peer that the URI names, the
        /// running peer fetches the content. Otherwise this command fetches it itself
        #[argh(positional, arg_name = "NAME")]
        pub(crate) what: String,

        /// further names, paths, roots, patterns, folders or URIs
        #[argh(positional, arg_name = "MORE")]
        pub(crate) also: Vec<String>,

        /// destination: a new file; a folder, which exists or ends in a slash; or - for standard
        /// output. The destination of several files must be a folder [default: the running peer's
        /// folder for downloads; without a running peer, or with --super, the current folder]
        #[argh(option, short = 'o', arg_name = "PATH")]
        pub(crate) out: Option<PathBuf>,

        /// download from this peer only [default: from all sources]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(chunk_addr))]
        pub(crate) from: Option<HostPort>,

        /// digests to check for each piece: both, blake3 or md5; md5 alone does not prove the
        /// identity of the file [default: both]
        #[argh(option, arg_name = "DIGESTS", from_str_fn(verify))]
        pub(crate) verify: Option<Verify>,

        /// order in which pieces are fetched. any: the order that is fastest for all peers.
        /// sequential: from the beginning to the end, for programs that read the file during the
        /// download [default: any]
        #[argh(option, arg_name = "ORDER", from_str_fn(order))]
        pub(crate) order: Option<PieceOrder>,

        /// fail with exit 4 if no piece arrives within this time and the sources together send less
        /// than 16 KiB/s. Complete pieces are kept, and the same command resumes the download. With
        /// 0 the command never fails for this reason [default: 5m, or the setting of the running
        /// peer]
        #[argh(option, arg_name = "TIME", from_str_fn(timeout))]
        pub(crate) timeout: Option<Span>,

        /// without a running peer: after the command has printed the result, it serves other peers
        /// for up to this time, as long as they send requests. With 0 it never serves other peers,
        /// and does not listen [default: 10s]
        #[argh(option, arg_name = "TIME", from_str_fn(linger))]
        pub(crate) linger: Option<Span>,

        /// without a running peer: the place of this machine, such as a rack. A peer fetches a file
        /// mostly from peers in its own zone that fetch the same file [default: none]
        #[argh(option, arg_name = "LABEL", from_str_fn(zone))]
        pub(crate) zone: Option<String>,

        /// without a running peer: highest rate at which this command receives file data, in bytes
        /// per second such as 10M, or in bits per second such as 100Mbit. 0 means no limit
        /// [default: 0]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) download_limit: Option<Rate>,

        /// without a running peer: highest rate at which this command sends file data, to all peers
        /// together. 0 means no limit [default: 0]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) upload_limit: Option<Rate>,
    } with search, asked, json, log(" [default: warn]", Warn)
}

command! {
    /// Print one line that others can paste after `sprat get`. The line for a folder names all
    /// files in it that are shared, with their present contents. After a change, print a new line.
    #[argh(
        name = "uri",
        example = "{command_name} ~/share/holiday",
        example = "{command_name} blue-train.flac --super 192.0.2.1:4777"
    )]
    Uri {
        /// a file or folder that the running peer shares, or a name or a root to search for
        #[argh(positional, arg_name = "FILE|FOLDER|NAME|ROOT")]
        pub(crate) what: String,
    } with search, asked, json, log(" [default: warn]", Warn)
}

command! {
    /// List all files that are registered at the super peer, with their sizes and the number of
    /// peers that hold them. With --network, list all files of the network, each content once.
    #[argh(
        name = "list",
        example = "{command_name} --super 192.0.2.1:4777 --json"
    )]
    List {
        /// list the files of the network, page by page, ordered by root. --ttl, --policy and
        /// --budget are allowed only with this option. --budget is the time for each page [default:
        /// off]
        #[argh(switch)]
        pub(crate) network: bool,

        /// also count peers that have only a part of a file and are fetching the rest, and list
        /// files of which no peer has all [default: off]
        #[argh(switch)]
        pub(crate) partial: bool,
    } with search, asked, json, log(" [default: warn]", Warn)
}

command! {
    /// Print the state of a running peer: the address that it offers to other peers, its super
    /// peer, its share, and what it downloads and sends. With --super, print the state of that
    /// super peer.
    #[argh(name = "status", example = "{command_name} --super 192.0.2.1:4777")]
    Status {
        /// print all counters of the peer and of its super peer, each with its unit [default: off]
        #[argh(switch)]
        pub(crate) counters: bool,

        /// show the state of a running peer or super peer, updated each second, until q or Ctrl-C
        /// is pressed [default: off]
        #[argh(switch)]
        pub(crate) watch: bool,
    } with asked, json, log(" [default: warn]", Warn)
}

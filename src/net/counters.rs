//! What a net counts.

/// What the sockets did since the process started. No count ever goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because descriptors were short.
    pub refused: u64,
    /// Times that accepting stalled because descriptors were short.
    pub accept_stalls: u64,
    /// Connections that were gone before they were accepted, and other errors of accept(2) that concern one connection.
    pub accept_errors: u64,
    /// Dials that succeeded.
    pub dialed: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages queued.
    pub messages_out: u64,
    /// Connections on which bytes arrived that are not a message.
    pub malformed: u64,
    /// Events and outputs for a connection or client that was gone.
    pub stale_ids: u64,
    /// Connections closed because the other side did not read.
    pub slow_consumers: u64,
    /// Connections closed because a frame was not complete in time.
    pub slow_frames: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that the kernel did not accept for sending.
    pub datagrams_dropped: u64,
    /// Errors of receiving datagrams.
    pub datagram_errors: u64,
    /// Clients of the control socket that were accepted.
    pub control_clients: u64,
    /// Clients of the control socket that were closed because there were too many or because they did not read.
    pub control_refused: u64,
}

impl Counters {
    /// All counts, by the names that STATUS shows.
    pub fn named(&self) -> impl Iterator<Item = (String, u64)> {
        let Counters {
            turns,
            accepted,
            refused,
            accept_stalls,
            accept_errors,
            dialed,
            dials_failed,
            messages_in,
            messages_out,
            malformed,
            stale_ids,
            slow_consumers,
            slow_frames,
            datagrams_in,
            datagrams_out,
            datagrams_dropped,
            datagram_errors,
            control_clients,
            control_refused,
        } = *self;
        [
            ("net_turns", turns),
            ("net_accepted", accepted),
            ("net_refused", refused),
            ("net_accept_stalls", accept_stalls),
            ("net_accept_errors", accept_errors),
            ("net_dialed", dialed),
            ("net_dials_failed", dials_failed),
            ("net_messages_in", messages_in),
            ("net_messages_out", messages_out),
            ("net_malformed", malformed),
            ("net_stale_ids", stale_ids),
            ("net_slow_consumers", slow_consumers),
            ("net_slow_frames", slow_frames),
            ("net_datagrams_in", datagrams_in),
            ("net_datagrams_out", datagrams_out),
            ("net_datagrams_dropped", datagrams_dropped),
            ("net_datagram_errors", datagram_errors),
            ("net_control_clients", control_clients),
            ("net_control_refused", control_refused),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
    }
}

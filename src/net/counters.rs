//! What a net counts.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the sockets have done since the process started. No count ever decreases.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All counts, by the names that STATUS shows: `net_` and the name of the field.
            pub fn named(&self) -> impl Iterator<Item = (String, u64)> {
                [$((concat!("net_", stringify!($name)), self.$name),)*]
                    .into_iter()
                    .map(|(name, count)| (name.to_owned(), count))
            }
        }
    };
}

counters! {
    /// Turns of the loop.
    turns,
    /// Connections accepted.
    accepted,
    /// Connections refused because descriptors were short.
    refused,
    /// Times that the node was asked to close idle connections because descriptors were short.
    crowded,
    /// Times that accepting stalled because descriptors were short.
    accept_stalls,
    /// Connections that were gone before they were accepted, and other errors of accept(2) that
    /// concern one connection.
    accept_errors,
    /// Dials that succeeded.
    dialed,
    /// Dials that failed.
    dials_failed,
    /// TLS handshakes that were completed, of both directions.
    handshakes,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// Accepted connections whose TLS handshake was not complete in time.
    handshakes_overdue,
    /// Accepted connections that had not logged in and made room for newer ones.
    half_open_evicted,
    /// Times that new connections were left in the kernel for 10 ms, because no connection that had
    /// not logged in could be closed for them yet.
    half_open_waits,
    /// Accepted connections that were closed because their address had begun too many handshakes.
    address_limited,
    /// Accepted connections of the other mode: without TLS in login mode, with TLS in open mode.
    other_mode,
    /// Connections on which a TLS record after the handshake was wrong.
    tls_broken,
    /// Messages received.
    messages_in,
    /// Messages queued.
    messages_out,
    /// Connections on which bytes arrived that are not a message.
    malformed,
    /// Events and outputs for a connection or client that was gone.
    stale_ids,
    /// Times that the other side of a connection did not read, so that its queries had to wait.
    backlogs,
    /// Connections closed because the other side did not read.
    slow_consumers,
    /// Of the connections closed because the other side did not read: those closed because memory
    /// was short.
    unread_closed,
    /// Connections closed because a frame was not complete in time.
    slow_frames,
    /// Connections that spoke HTTP.
    http_connections,
    /// Requests of HTTP.
    http_requests,
    /// Requests refused because they are not HTTP, or could be read in two ways (400, 505).
    http_malformed,
    /// Requests refused because their head is too long or has too many fields (431).
    http_too_large,
    /// Requests refused because of their body (413).
    http_bodies,
    /// Requests refused because of their method (405).
    http_methods,
    /// Requests refused because of their Host (421).
    http_hosts,
    /// Requests refused because they need the token (401).
    http_tokens,
    /// Requests that were not complete in time (408).
    http_slow_heads,
    /// HTTP connections closed because the other side did not read, or read slowly while others
    /// waited.
    http_slow_readers,
    /// HTTP connections refused because there were too many (503).
    http_busy,
    /// Idle HTTP connections closed to make room for others.
    http_evicted,
    /// Datagrams received.
    datagrams_in,
    /// Datagrams sent.
    datagrams_out,
    /// Datagrams that the kernel did not accept for sending.
    datagrams_dropped,
    /// Errors of receiving datagrams.
    datagram_errors,
    /// Clients of the control socket that were accepted.
    control_clients,
    /// Clients of the control socket that were closed, either because there were too many and all
    /// of them waited for answers, or because they did not read.
    control_refused,
    /// Clients of the control socket that were closed because another user runs them.
    control_strangers,
    /// Idle clients of the control socket that were closed to make room for others.
    control_evicted,
}

//! A conversation with a running daemon over its control socket. It sends and receives lines, and
//! knows no commands.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::args::AskedOptions;
use super::oneshot::{self, Target};
use crate::error::{Exit, Failure};

/// An open connection to a control socket.
pub(crate) struct Talk {
    lines: BufReader<UnixStream>,
    path: PathBuf,
    /// The beginning of an incomplete line.
    begun: Vec<u8>,
}

impl Talk {
    /// Connects to the daemon that the options name. If they name none, connects to the peer; if
    /// only a super peer runs here, connects to that super peer.
    ///
    /// # Errors
    /// Exit 5 if no daemon serves the socket.
    pub(crate) fn open(asked: AskedOptions) -> Result<Talk, Failure> {
        let Target::Control { path, name, named } = Target::new(oneshot::node_here(asked)?)? else {
            return Err(Failure::usage("only a running daemon can be asked for this; leave out --super"));
        };
        let stream = UnixStream::connect(&path).map_err(|error| oneshot::no_peer(&path, &name, named, &error))?;
        Ok(Talk { lines: BufReader::new(stream), path, begun: Vec::new() })
    }

    /// Sends a line.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), Failure> {
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes()).map_err(|error| self.lost(&error))
    }

    /// The next line; none if the time is over before.
    ///
    /// # Errors
    /// Exit 5 if the daemon has closed the connection.
    pub(crate) fn next(&mut self, until: Option<Instant>) -> Result<Option<String>, Failure> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) && self.lines.buffer().is_empty() {
                return Ok(None);
            }
            let patience = left.map(|left| left.max(Duration::from_millis(1)));
            self.lines.get_ref().set_read_timeout(patience).map_err(|error| self.lost(&error))?;
            match self.lines.read_until(b'\n', &mut self.begun) {
                Ok(0) => {
                    let path = self.path.display();
                    return Err(Failure::new(Exit::Unreachable, format!("the daemon at {path} closed the connection")));
                }
                Ok(_) => {
                    let line = std::mem::take(&mut self.begun);
                    return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn lost(&self, error: &io::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("lost the daemon at {}: {error}", self.path.display()))
    }

    /// The failure if a line does not have the required form.
    pub(crate) fn garbled(&self, why: &dyn std::fmt::Display) -> Failure {
        let path = self.path.display();
        Failure::new(Exit::Version, format!("the daemon at {path} sent a line that is not an event: {why}"))
    }
}

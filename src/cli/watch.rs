//! `sprat status --watch`: draws the screen of a status each second in the same place, until q or
//! Ctrl-C is pressed. It stops the terminal from echoing keys, and restores it at the end.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::args::Status;
use super::columns::{self, Window};
use super::progress::Block;
use super::talk::Talk;
use super::{oneshot, output, screen};
use crate::control;
use crate::error::{Exit, Failure};
use crate::net::ending_signals;
use crate::proto::{ClientEvent, Command};

/// The pause between two drawings.
const EVERY: Duration = Duration::from_secs(1);
/// How long a daemon may take to answer. It waits 3 s for its super peer.
const PATIENCE: Duration = Duration::from_secs(5);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// The bytes of Ctrl-C and Ctrl-D if the terminal does not convert them to signals.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// Runs the command.
pub(crate) fn run(args: &Status) -> Result<u8, Failure> {
    if args.json {
        return Err(Failure::usage(
            "--watch is for people; programs ask for status --json again, or follow sprat events",
        ));
    }
    let Some(_) = Window::of(io::stdout()) else {
        return Err(Failure::usage("--watch needs a terminal"));
    };
    let mut talk = Some(Talk::open(args.asked())?);
    let keys = Keys::take();
    let mut block = Block::default();
    let mut last = Vec::new();
    loop {
        let due = Instant::now() + EVERY;
        // If the daemon was restarted, this connects to it again.
        let asked = talk.take().map_or_else(|| Talk::open(args.asked()), Ok);
        let (shown, why) = match asked.and_then(|mut open| ask(&mut open).map(|event| (open, event))) {
            Ok((open, event)) => {
                talk = Some(open);
                (if args.counters { screen::counters(&event) } else { screen::screen(&event) }, None)
            }
            Err(failure) => (std::mem::take(&mut last), Some(failure.message)),
        };
        let mut lines = shown.clone();
        lines.extend(why);
        last = shown;
        draw(&mut block, lines)?;
        if let Some(code) = keys.wait(due) {
            return Ok(code);
        }
    }
}

/// The status of the daemon.
fn ask(talk: &mut Talk) -> Result<ClientEvent, Failure> {
    talk.send(&control::command_line(&Command::Status))?;
    let until = Instant::now() + PATIENCE;
    let mut status = None;
    loop {
        let Some(line) = talk.next(Some(until))? else {
            return Err(Failure::new(Exit::TimedOut, "the daemon does not answer"));
        };
        let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
        if matches!(event, ClientEvent::Status { .. }) {
            status = Some(event);
        } else if let ClientEvent::Done(outcome) = event {
            let why = outcome.error.unwrap_or_else(|| "the daemon has no status".to_owned());
            return status.ok_or_else(|| Failure::new(Exit::Internal, why));
        }
    }
}

fn draw(block: &mut Block, lines: Vec<String>) -> Result<(), Failure> {
    let Some(window) = Window::of(io::stdout()) else { return Ok(()) };
    // The last row is for the cursor. The last column is not used, because a line that fills its
    // row could be wrapped.
    let (rows, columns) = (window.rows.saturating_sub(1), window.columns.saturating_sub(1));
    let fit = |line: String| columns::cut(&output::visible(&line), columns);
    let lines = lines.into_iter().take(rows).map(fit).collect();
    let text = block.redrawn(window, "", lines);
    output::styled(&text).map_err(output::unwritable)
}

/// The keys of the terminal. It neither echoes them nor converts them to signals.
struct Keys {
    before: Option<Termios>,
    /// The signal that came; 0 if none did.
    signal: Arc<AtomicUsize>,
}

impl Keys {
    fn take() -> Keys {
        let signal = Arc::<AtomicUsize>::default();
        for number in ending_signals() {
            let _ =
                signal_hook::flag::register_usize(*number, Arc::clone(&signal), usize::try_from(*number).unwrap_or(0));
        }
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut plain = before.clone();
            plain.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &plain);
        }
        let _ = output::styled(HIDE_CURSOR);
        Keys { before, signal }
    }

    /// Waits until this time. Returns the exit code if a key or a signal ends the command.
    fn wait(&self, until: Instant) -> Option<u8> {
        loop {
            let signal = self.signal.load(Ordering::Relaxed);
            if signal != 0 {
                return u8::try_from(128 + signal).ok();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if self.before.is_none() {
                std::thread::sleep(left.min(Duration::from_millis(100)));
                continue;
            }
            let stdin = io::stdin();
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            let patience = Timespec::try_from(left).ok();
            if poll(&mut fds, patience.as_ref()).is_ok_and(|ready| ready > 0) {
                let mut key = [0];
                match rustix::io::read(stdin.as_fd(), &mut key) {
                    Ok(1) if key[0] == CTRL_C => return Some(oneshot::INTERRUPTED),
                    Ok(1) if matches!(key[0], b'q' | b'Q' | CTRL_D) => return Some(Exit::Ok.code()),
                    Ok(1) => {}
                    Ok(_) | Err(_) => return Some(Exit::Ok.code()),
                }
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        let _ = io::stdout().write_all(SHOW_CURSOR.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

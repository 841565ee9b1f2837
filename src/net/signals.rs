//! SIGTERM and SIGINT: caught while a net exists; after the last one is gone they end the process
//! again.
//!
//! Without the second half, a process that has left its loop but waits for its disk could not be
//! interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

const ENDING: [i32; 2] = [SIGTERM, SIGINT];

/// How many nets exist in this process.
static LIVING: Mutex<usize> = Mutex::new(0);
/// Set while there is none: the signals then have their default effect.
static DEADLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The signals of one net.
pub(super) struct Caught(pub(super) Signals);

impl Caught {
    pub(super) fn open() -> io::Result<Caught> {
        let mut living = living();
        // Registered before the signals of any net, because handlers run in this order: otherwise a
        // loop could be woken, end, and make the signal deadly before this handler looks at the
        // flag.
        if DEADLY.get().is_none() {
            let deadly = DEADLY.get_or_init(Arc::default);
            for signal in ENDING {
                signal_hook::flag::register_conditional_default(signal, deadly.clone())?;
            }
        }
        let signals = Signals::new(ENDING)?;
        *living += 1;
        set_deadly(false);
        Ok(Caught(signals))
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let mut living = living();
        *living -= 1;
        set_deadly(*living == 0);
    }
}

fn living() -> std::sync::MutexGuard<'static, usize> {
    LIVING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn set_deadly(now: bool) {
    if let Some(deadly) = DEADLY.get() {
        deadly.store(now, Ordering::SeqCst);
    }
}

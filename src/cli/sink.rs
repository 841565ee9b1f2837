//! `get -o -`: writes the content to standard output, in order, as soon as its pieces are verified.
//! The download goes to a temporary folder. A thread reads verified bytes there and writes them, so
//! that a slow reader does not delay the download. Bytes that are not verified are never written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use crate::error::{Exit, Failure};

/// Name of the content in the temporary folder.
const NAME: &str = "content";
/// How many bytes are written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Copies one content to standard output.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The temporary folder, which is removed at the end.
    folder: TempDir,
    /// Verified pieces after the first missing one, with their lengths.
    ahead: BTreeMap<u32, u32>,
    /// The first missing piece.
    next: u32,
    /// The number of bytes before that piece.
    verified: u64,
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    /// Sends to the thread how many bytes from the start are verified.
    verified: Sender<u64>,
    thread: JoinHandle<io::Result<()>>,
}

impl Sink {
    /// Creates the temporary folder.
    ///
    /// # Errors
    /// Exit 9 if this fails.
    pub(crate) fn new() -> Result<Sink, Failure> {
        let folder = tempfile::Builder::new().prefix("sprat-").tempdir();
        let folder = folder.map_err(|error| {
            let temporary = std::env::temp_dir();
            let why = format!("no temporary folder in {}: {error}; set TMPDIR to another one", temporary.display());
            Failure::new(Exit::Disk, why)
        })?;
        Ok(Sink { folder, ahead: BTreeMap::new(), next: 0, verified: 0, writer: None })
    }

    /// The path of the download.
    pub(crate) fn destination(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    /// A piece is verified and is in the part file.
    ///
    /// # Errors
    /// The error of the write that failed. It is `BrokenPipe` if the reader has closed standard
    /// output.
    pub(crate) fn piece(&mut self, index: u32, length: u32) -> io::Result<()> {
        self.ahead.insert(index, length);
        let before = self.verified;
        while let Some(length) = self.ahead.remove(&self.next) {
            self.next += 1;
            self.verified += u64::from(length);
        }
        if self.verified == before { Ok(()) } else { self.write_up_to(self.verified) }
    }

    /// The content is complete: writes the rest, and waits until everything is written.
    ///
    /// # Errors
    /// As for [`Sink::piece`].
    pub(crate) fn finish(&mut self, size: u64) -> io::Result<()> {
        self.write_up_to(size)?;
        let Some(Writer { verified, thread }) = self.writer.take() else { return Ok(()) };
        drop(verified);
        // The thread has opened the file, so the folder can be removed already. If a signal ends
        // this process now, no file is left over.
        let _ = fs::remove_dir_all(self.folder.path());
        joined(thread)
    }

    fn write_up_to(&mut self, verified: u64) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file = open(self.folder.path())?;
                let (sender, bounds) = mpsc::channel();
                let thread = thread::Builder::new().name("sprat-stdout".to_owned());
                let thread = thread.spawn(move || copy(&file, &bounds))?;
                self.writer.insert(Writer { verified: sender, thread })
            }
        };
        // This fails if the thread has ended because a write has failed.
        if writer.verified.send(verified).is_ok() {
            return Ok(());
        }
        self.writer.take().map_or(Ok(()), |writer| joined(writer.thread))
    }
}

fn joined(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes has failed")))
}

/// The part file or, after the rename, the final file.
fn open(folder: &Path) -> io::Result<File> {
    File::open(folder.join(format!(".{NAME}.part"))).or_else(|_| File::open(folder.join(NAME)))
}

/// Copies the file up to each length that is received, until the sender is dropped.
fn copy(file: &File, bounds: &Receiver<u64>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    let mut out = io::stdout().lock();
    while let Ok(bound) = bounds.recv() {
        while at < bound {
            let length = usize::try_from(bound - at).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..length], at)?;
            out.write_all(&buffer[..length])?;
            at += length as u64;
        }
        out.flush()?;
    }
    Ok(())
}

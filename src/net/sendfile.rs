//! Copies from a file to a socket with sendfile(2). If the file system or the kernel does not
//! support this, it copies through a small buffer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::net::SendFlags;

/// Bytes that the fallback copies in one step, on the stack.
const STEP_BYTES: usize = 16 * 1024;

/// Sends up to `length` bytes from `offset` on. `Ok(0)` means that the file ends there.
pub(super) fn send(socket: &impl AsFd, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    let mut position = offset;
    match rustix::fs::sendfile(socket, file, Some(&mut position), length) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => send_by_copy(socket, file, offset, length),
        result => Ok(result?),
    }
}

fn send_by_copy(socket: &impl AsFd, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    let mut step = [0; STEP_BYTES];
    let wanted = length.min(step.len());
    let read = file.read_at(&mut step[..wanted], offset)?;
    if read == 0 {
        return Ok(0);
    }
    Ok(rustix::net::send(socket, &step[..read], SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_copy_sends_what_sendfile_sends() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(send(&ours, &file, 2, 3).unwrap(), 3);
        assert_eq!(send_by_copy(&ours, &file, 5, 3).unwrap(), 3);
        assert_eq!(send(&ours, &file, 10, 3).unwrap(), 0);
        assert_eq!(send_by_copy(&ours, &file, 10, 3).unwrap(), 0);
        let mut got = [0; 6];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"234567");
    }
}

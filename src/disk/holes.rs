//! Writes bytes, but leaves holes in place of blocks of zeros. A hole takes no space and reads as
//! zeros.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

/// The unit in which file systems allocate. Shorter runs of zeros are written.
const BLOCK_BYTES: usize = 4096;

/// Writes at an offset that is a multiple of the block size. Blocks of zeros become holes. The file
/// gets the same length as with a normal write.
pub(super) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    // The end of a hole behind the present end of the file.
    let mut end = None;
    let runs = Runs { bytes, at: 0 };
    for run in runs {
        let (start, is_hole) = (offset + run.range.start as u64, run.is_hole);
        end = is_hole.then_some(offset + run.range.end as u64);
        if is_hole {
            clear(file, &bytes[run.range], start)?;
        } else {
            file.write_all_at(&bytes[run.range], start)?;
        }
    }
    match end {
        Some(end) if file.metadata()?.len() < end => file.set_len(end),
        Some(_) | None => Ok(()),
    }
}

/// Makes a range read as zeros. An earlier run may have left other bytes in it.
fn clear(file: &File, zeros: &[u8], start: u64) -> io::Result<()> {
    let end = start + zeros.len() as u64;
    match seek(file, SeekFrom::Data(start)) {
        Ok(data) if data >= end => return Ok(()),
        // There is only a hole up to the end of the file, or the file ends before this offset.
        Err(Errno::NXIO) => return Ok(()),
        Ok(_) | Err(_) => {}
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, start, zeros.len() as u64) {
        Ok(()) => Ok(()),
        Err(_) => file.write_all_at(zeros, start),
    }
}

struct Run {
    range: Range<usize>,
    is_hole: bool,
}

/// The longest runs of blocks that are all zero, or all not zero.
struct Runs<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let mut blocks = self.bytes[self.at..].chunks(BLOCK_BYTES).map(|block| (is_zero(block), block.len()));
        let (is_hole, mut length) = blocks.next()?;
        length += blocks.take_while(|(zero, _)| *zero == is_hole).map(|(_, length)| length).sum::<usize>();
        let range = self.at..self.at + length;
        self.at = range.end;
        Some(Run { range, is_hole })
    }
}

fn is_zero(block: &[u8]) -> bool {
    // Comparing the block with itself, shifted by one byte, is a single memcmp.
    block.first().is_none_or(|first| *first == 0 && block[1..] == block[..block.len() - 1])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn read(file: &File) -> Vec<u8> {
        let mut bytes = vec![1; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Bytes in use on the disk.
    fn used(file: &File) -> u64 {
        file.metadata().unwrap().blocks() * 512
    }

    fn sparse() -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        bytes[70_000..80_000].fill(7);
        bytes[1_000_000] = 1;
        bytes
    }

    #[test]
    fn zeros_take_no_space_and_read_the_same() {
        for bytes in [sparse(), vec![0; 100_001], vec![0; 1], vec![5; 5000], [vec![3; 4096], vec![0; 9000]].concat()] {
            let file = tempfile::tempfile().unwrap();
            write(&file, &bytes, 0).unwrap();
            assert!(read(&file) == bytes);
            let blocks = bytes.chunks(BLOCK_BYTES).filter(|block| block.iter().any(|byte| *byte != 0)).count();
            assert!(used(&file) <= (blocks * BLOCK_BYTES) as u64, "{} of {}", used(&file), bytes.len());
        }
    }

    #[test]
    fn zeros_replace_what_an_earlier_run_left() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![9; 2 << 20], 0).unwrap();
        write(&file, &sparse(), 1 << 20).unwrap();
        write(&file, &sparse(), 0).unwrap();
        assert!(read(&file) == [sparse(), sparse()].concat());
    }

    #[test]
    fn pieces_in_any_order_make_the_same_file() {
        let file = tempfile::tempfile().unwrap();
        write(&file, &[0; 17], 2 << 20).unwrap();
        write(&file, &sparse(), 1 << 20).unwrap();
        write(&file, &vec![0; 1 << 20], 0).unwrap();
        assert!(read(&file) == [vec![0; 1 << 20], sparse(), vec![0; 17]].concat());
    }
}

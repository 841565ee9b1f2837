//! Collects the bytes of a connection that speaks HTTP until they form requests. The requests and
//! the refusal do not depend on the parts in which the bytes arrive. No byte is checked again when
//! more bytes arrive.

use super::head::{Refusal, Request, Seen, parse_seen};
use super::surface::Surface;

/// Bytes that have arrived and do not belong to a returned request.
#[derive(Debug)]
pub struct Reader {
    /// What the requests are for.
    surface: Surface,
    held: Vec<u8>,
    /// What is known about these bytes.
    seen: Seen,
}

impl Reader {
    /// A reader without bytes.
    #[must_use]
    pub fn new(surface: Surface) -> Reader {
        Reader { surface, held: Vec::new(), seen: Seen::default() }
    }

    /// Keeps bytes that arrived.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// The requests for the page in bytes that arrive in these parts, and the refusal, if there is
    /// one, that ends them.
    #[must_use]
    pub fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<Refusal>) {
        let (mut reader, mut requests) = (Reader::new(Surface::Page), Vec::new());
        for part in parts {
            reader.hold(part);
            loop {
                match reader.take_request() {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(refusal) => return (requests, Some(refusal)),
                }
            }
        }
        (requests, None)
    }

    /// The next request, if it is complete.
    ///
    /// # Errors
    /// If the request is refused. Then nothing after it can be read.
    pub fn take_request(&mut self) -> Result<Option<Request>, Refusal> {
        let Some((request, used)) = parse_seen(&self.held, &mut self.seen, self.surface)? else { return Ok(None) };
        self.held.drain(..used);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        self.seen = Seen::default();
        Ok(Some(request))
    }

    /// Whether the client waits for the status 100 before it sends the rest of the request. Returns
    /// `true` once for a request.
    pub fn take_wait(&mut self) -> bool {
        std::mem::take(&mut self.seen.waits)
    }
}

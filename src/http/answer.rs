//! The heads of answers.

use std::fmt::Write;
use std::time::SystemTime;

use super::head::{Method, Refusal, Request};

/// An answer before the final one: the client may send the body (RFC 9110, 10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The body that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A body with this many bytes.
    Bytes(u64),
    /// No body and no Content-Length, as in an answer with 304.
    None,
    /// A body that ends when the connection ends.
    UntilClose,
}

/// An answer that is being built: its status and its fields.
#[derive(Debug)]
pub struct Answer {
    head: String,
    keep_alive: bool,
}

impl Answer {
    /// Begins an answer with this status.
    #[must_use]
    pub fn new(status: u16, keep_alive: bool) -> Answer {
        let mut head = String::with_capacity(512);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let _ = write!(head, "HTTP/1.1 {status} {}\r\nDate: {date}\r\nServer: sprat\r\n", reason(status));
        Answer { head, keep_alive }
    }

    /// Adds a field. Control characters of the value, which may be a file name, are left out.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Answer {
        self.head.push_str(name);
        self.head.push_str(": ");
        self.head.extend(value.chars().filter(|c| !c.is_control()));
        self.head.push_str("\r\n");
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<String>) -> Answer {
        match value {
            Some(value) => self.field(name, &value),
            None => self,
        }
    }

    /// Adds the fields that every text for a browser needs. With them, the browser does not guess
    /// another type, and loads only what the policy allows.
    #[must_use]
    pub fn shown(self, content_type: &str, policy: &str) -> Answer {
        self.field("Content-Type", content_type)
            .field("X-Content-Type-Options", "nosniff")
            .field("Content-Security-Policy", policy)
            .field("Referrer-Policy", "no-referrer")
            .field("Cross-Origin-Resource-Policy", "same-origin")
    }

    /// Ends the head.
    #[must_use]
    pub fn end(mut self, body: Body) -> Vec<u8> {
        let keep_alive = match body {
            Body::Bytes(bytes) => {
                let _ = write!(self.head, "Content-Length: {bytes}\r\n");
                self.keep_alive
            }
            Body::None => self.keep_alive,
            Body::UntilClose => false,
        };
        self.head.push_str(if keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
        self.head.into_bytes()
    }

    /// Ends the head and adds the body, unless the request was HEAD.
    #[must_use]
    pub fn with(self, body: &[u8], request: &Request) -> Vec<u8> {
        let mut bytes = self.end(Body::Bytes(body.len() as u64));
        if request.method != Method::Head {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// Ends the answer with a sentence as its body.
    #[must_use]
    pub fn sentence(self, why: &str, request: &Request) -> Vec<u8> {
        let body = format!("{why}\n");
        self.shown("text/plain; charset=utf-8", "default-src 'none'").with(body.as_bytes(), request)
    }
}

/// The complete answer to a head that is refused.
#[must_use]
pub fn refusal(refusal: Refusal) -> Vec<u8> {
    let mut answer = Answer::new(refusal.status(), false);
    match refusal {
        Refusal::Method(allowed) => answer = answer.field("Allow", allowed),
        Refusal::Busy => answer = answer.field("Retry-After", "5"),
        Refusal::Token => answer = answer.field("WWW-Authenticate", "Bearer"),
        Refusal::Malformed(_)
        | Refusal::TooLarge
        | Refusal::Body
        | Refusal::Version
        | Refusal::Slow
        | Refusal::Expectation
        | Refusal::Host => {}
    }
    let body = format!("{}\n", refusal.why());
    let mut bytes = answer.field("Content-Type", "text/plain; charset=utf-8").end(Body::Bytes(body.len() as u64));
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

//! The rules of HTTP as pure functions. They read heads of requests, and make heads and bodies of
//! answers.
//!
//! They decide which head is refused and with which status, which bytes a range means, which
//! condition holds, and what the page of a folder and a Metalink look like. This module has no
//! socket and no file, and reads the clock only for the field Date. `net` moves the bytes, and
//! `node` finds files and sources. Heads are parsed by `httparse`, paths by `percent-encoding`,
//! dates by `httpdate`.
//!
//! RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 5854 (Metalink), RFC 6249 (Metalink in
//! headers), RFC 9530 (digests).

mod answer;
mod authority;
mod condition;
mod head;
pub mod hosts;
pub mod listing;
pub mod metalink;
pub mod metrics;
pub mod page;
mod range;
mod reader;
mod surface;
mod target;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Body, CONTINUE, refusal};
pub use authority::reached_at;
pub use condition::{Content, Served, serve};
pub use head::{Method, Refusal, Request, form_field, may_begin, parse};
pub use range::{Span, span};
pub use reader::Reader;
pub use surface::Surface;
pub use target::{FileTarget, file_target, segments};

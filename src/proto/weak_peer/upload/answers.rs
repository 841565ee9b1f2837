//! The answers to the requests of one connection, in their order: what may be sent now, and what is
//! no longer needed.

use super::connection::Upload;
use super::request::{Answer, Stage, Wanted};
use crate::config::{UPLOAD_RATE_MIN, UPLOAD_SENDING_BYTES, UPLOAD_SENDING_MAX};
use crate::proto::disk::{Edge, Page, ServeFailure};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::Context;
use crate::proto::{ConnId, Output};
use crate::wire::Message;
use crate::wire::message::{Chunk, Cvs, ErrorCode};

/// Forgets a request unless its bytes are being sent. Returns whether the request was forgotten.
pub(super) fn cancel_request(cx: &mut Context, conn: ConnId, upload: &mut Upload, req: u32) -> bool {
    let Some(request) = upload.find(req) else { return false };
    mark!(UploadCanceled);
    match request.stage {
        Stage::Queued => {}
        Stage::Preparing => {
            // The number stays in use until the disk answers. So this answer is not mistaken for
            // the answer to a later request.
            request.stage = Stage::Canceled;
            return false;
        }
        Stage::Ready(_) => cx.push(Output::DropChunk { conn, req }),
        Stage::Sending | Stage::Canceled => return false,
    }
    upload.requests.retain(|request| request.req != req);
    true
}

/// The requests that were answered with something other than a chunk or a page.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Requests that failed.
    pub(super) failed: Vec<u32>,
    /// FOLLOWs, each with the size of the content; none if the content is not there.
    pub(super) followed: Vec<(u32, Option<u64>)>,
}

/// Answers the requests at the front of the queue while their answers are ready. Returns the number
/// of chunks.
pub(super) fn send_ready(
    cx: &mut Context,
    conn: ConnId,
    upload: &mut Upload,
    bytes_sent: &mut u64,
    answered: &mut Answered,
) -> u64 {
    let mut chunks = 0;
    let mut paged = 0;
    let mut sending = 0;
    let mut sending_bytes = 0;
    let mut at = 0;
    while let Some(request) = upload.requests.get_mut(at) {
        let req = request.req;
        match (&mut request.stage, &request.wanted) {
            (Stage::Sending, _) => {
                sending += 1;
                sending_bytes += request.bytes();
                at += 1;
                continue;
            }
            (Stage::Canceled, _) => {
                at += 1;
                continue;
            }
            (Stage::Ready(_), _) if sending >= UPLOAD_SENDING_MAX && sending_bytes >= UPLOAD_SENDING_BYTES => break,
            (Stage::Queued | Stage::Preparing, _) => break,
            (Stage::Ready(Answer::Chunk(md5)), &Wanted::Chunk { offset, length, .. }) => {
                cx.send(conn, Message::Chunk(Chunk { req, offset, length, md5: *md5 }));
                cx.push(Output::SendPayload { conn, req, offset, length });
                request.stage = Stage::Sending;
                sending += 1;
                sending_bytes += u64::from(length);
                chunks += 1;
                *bytes_sent += u64::from(length);
                if let Some(root) = upload.root {
                    cx.holdings.note_sent(cx.now, root, length);
                }
                at += 1;
                continue;
            }
            (Stage::Ready(Answer::Page(page)), &Wanted::Page { first, .. }) => {
                let Page { size, cvs, edge, .. } = std::mem::take(page);
                paged += cvs.len() as u64;
                let Edge { tail, left } = edge.unwrap_or_default();
                cx.send(conn, Message::Cvs(Cvs { req, size, first, cvs, tail, left }));
            }
            (Stage::Ready(Answer::Page(page)), Wanted::Follow { .. }) if !page.partial => {
                answered.followed.push((req, Some(page.size)));
            }
            // Only a running download, which the disk does not serve, has a part of the content.
            (Stage::Ready(Answer::Page(_)), Wanted::Follow { .. }) => {
                answered.followed.push((req, None));
                let (code, why) = refusal(ServeFailure::NotFound);
                cx.error(conn, code, why, Some(req));
            }
            (Stage::Ready(Answer::Failed(failure)), wanted) => {
                match wanted {
                    Wanted::Follow { .. } => answered.followed.push((req, None)),
                    Wanted::Chunk { .. } | Wanted::Page { .. } => answered.failed.push(req),
                }
                let (code, why) = refusal(*failure);
                cx.error(conn, code, why, Some(req));
            }
            (Stage::Ready(Answer::Chunk(_)), Wanted::Page { .. } | Wanted::Follow { .. })
            | (Stage::Ready(Answer::Page(..)), Wanted::Chunk { .. }) => {
                debug_assert!(false, "the disk answered a request of another kind");
            }
        }
        upload.active_at = cx.now;
        upload.requests.remove(at);
    }
    upload.on_taken(cx.now, paged, UPLOAD_RATE_MIN);
    chunks
}

fn refusal(failure: ServeFailure) -> (ErrorCode, &'static str) {
    match failure {
        ServeFailure::NotFound => (ErrorCode::NOT_FOUND, "no shared file has this content"),
        ServeFailure::OutOfRange => (ErrorCode::BAD_REQUEST, "the range does not lie within the content"),
        ServeFailure::Changed => (ErrorCode::CHANGED, "the file changed, or cannot be read now"),
    }
}

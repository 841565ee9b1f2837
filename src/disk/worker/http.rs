//! What HTTP requests from the worker.

use super::Worker;
use crate::disk::http::{AtPath, HttpDone, HttpWork, open_written, remove_written};
use crate::disk::job::Report;

impl Worker {
    pub(super) fn on_http(&mut self, work: HttpWork) {
        let Worker { http, share, serve, collections, buffer, .. } = self;
        let share = share.as_mut().map(|share| (share, serve));
        let done = match work {
            HttpWork::Path { conn, path, after } => {
                let what = share.map_or(AtPath::Nothing, |share| http.at_path(share, &path, after.as_deref(), buffer));
                Some(HttpDone::Found { conn, what })
            }
            HttpWork::Root { conn, root } => {
                Some(HttpDone::Found { conn, what: http.content(share, collections, root, buffer) })
            }
            HttpWork::Sum { root } => http.sum(root),
            HttpWork::Leave { root } => {
                http.leave(root);
                None
            }
            HttpWork::Open { root, path } => Some(HttpDone::Opened { root, file: open_written(&path) }),
            HttpWork::Remove { path } => {
                remove_written(&path);
                None
            }
        };
        if let Some(done) = done {
            self.report(Report::Http(done));
        }
    }

    /// Computes one slice of the MD5s of a content. Returns false if there was nothing to do.
    pub(super) fn sum(&mut self) -> bool {
        let Worker { http, share, serve, buffer, .. } = self;
        let Some(done) = share.as_mut().and_then(|share| http.slice(share, serve, buffer)) else { return false };
        if let Some(done) = done {
            self.report(Report::Http(done));
        }
        true
    }
}

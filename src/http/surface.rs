//! What a listener serves, and with which methods.

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The share, on the port of chunks.
    Files,
    /// The page about the node, on a port of its own.
    Page,
}

impl Surface {
    /// The methods that are served at a path, as the field Allow lists them.
    #[must_use]
    pub fn allows(self, path: &str) -> &'static str {
        match (self, path) {
            (Surface::Page, "/api/search" | "/api/get") => "POST",
            (Surface::Page | Surface::Files, _) => "GET, HEAD",
        }
    }
}

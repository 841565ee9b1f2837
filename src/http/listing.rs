//! The page of a folder of the share.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::Root;
use crate::wire::name::is_invisible;
use crate::wire::record::name_of;

/// The characters that are escaped in a component of a path: all but the unreserved ones of RFC
/// 3986.
const COMPONENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The policy of the page: it loads nothing.
pub const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Last component of the path.
    pub name: String,
    /// For a file: its size, and its content once it is hashed. None for a folder.
    pub file: Option<(u64, Option<Root>)>,
}

/// A content that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// One of its paths.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The content.
    pub root: Root,
    /// Peers that have it at this path.
    pub sources: usize,
}

/// A component of a path, escaped for a URL.
#[must_use]
pub fn encoded(component: &str) -> String {
    utf8_percent_encode(component, &COMPONENT).to_string()
}

/// A path, escaped for a URL.
#[must_use]
pub fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// The text, escaped for an element or an attribute of HTML or XML, because names come from
/// strangers.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML 1.0 does not allow these two characters.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if is_invisible(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The page of a folder. `folder` is its path; it is empty for the top. `next` is the name after
/// which the next page begins, if there is one.
#[must_use]
pub fn page(folder: &str, entries: &[Entry], next: Option<&str>) -> String {
    let title = escaped(&format!("/{folder}"));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\n\
         </head>\n<body><h1>{title}</h1>\n\
         <table><thead><tr><th>Name</th><th align=\"right\">Bytes</th><th>Root (BLAKE3)</th></tr></thead><tbody>\n"
    );
    if !folder.is_empty() {
        html.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for Entry { name, file } in entries {
        let (href, shown) = (encoded(name), escaped(name));
        let _ = match file {
            None => writeln!(html, "<tr><td><a href=\"./{href}/\">{shown}/</a></td><td></td><td></td></tr>"),
            Some((size, None)) => {
                writeln!(html, "<tr><td>{shown}</td><td align=\"right\">{size}</td><td>is being hashed</td></tr>")
            }
            Some((size, Some(root))) => writeln!(
                html,
                "<tr><td><a href=\"./{href}\">{shown}</a></td><td align=\"right\">{size}</td>\
                 <td><a href=\"/root/{root}\"><code>{root}</code></a> \
                 <a href=\"/meta/{}.meta4\">meta4</a></td></tr>",
                if folder.is_empty() { href.clone() } else { format!("{}/{href}", encoded_path(folder)) }
            ),
        };
    }
    html.push_str("</tbody></table>\n");
    if let Some(next) = next {
        let _ = writeln!(html, "<p><a href=\"./?after={}\">next page</a></p>", encoded(next));
    }
    html.push_str("</body></html>\n");
    html
}

/// The result of a search, and its media type: a page, or JSON if the client asks for it.
#[must_use]
pub fn found(pattern: &str, hits: &[Hit], complete: bool, accept: &str) -> (String, &'static str) {
    let url = |hit: &Hit| format!("/root/{}/{}", hit.root, encoded(name_of(&hit.path)));
    if accept.contains("application/json") {
        let rows = hits.iter().map(|hit| {
            let Hit { path, size, root, sources } = hit;
            serde_json::json!({ "path": path, "size": size, "root": root, "sources": sources, "url": url(hit) })
        });
        let all = serde_json::json!({ "complete": complete, "hits": rows.collect::<Vec<_>>() });
        return (format!("{all}\n"), "application/json");
    }
    let title = escaped(pattern);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\n\
         </head>\n<body><h1>{title}</h1>\n<p>{} found, the answer is {}complete</p>\n\
         <table><thead><tr><th>Path</th><th align=\"right\">Bytes</th><th>Sources</th></tr></thead><tbody>\n",
        hits.len(),
        if complete { "" } else { "not " }
    );
    for hit in hits {
        let (href, shown) = (url(hit), escaped(&hit.path));
        let _ = writeln!(
            html,
            "<tr><td><a href=\"{href}\">{shown}</a></td><td align=\"right\">{}</td><td>{}</td></tr>",
            hit.size, hit.sources
        );
    }
    html.push_str("</tbody></table></body></html>\n");
    (html, "text/html; charset=utf-8")
}

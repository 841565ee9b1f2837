//! The page about a node: its text, its style and its script, which are files in this folder. They
//! load nothing from other hosts.

use super::listing::escaped;

/// The script. It inserts only text, never markup, because names come from strangers.
pub const SCRIPT: &str = include_str!("app.js");
/// The style.
pub const STYLE: &str = include_str!("style.css");
/// The icon.
pub const ICON: &str = include_str!("icon.svg");
/// What a browser may do with the page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = include_str!("index.html");

/// The page. With the token, the page can search and download. Without it, the page only shows.
#[must_use]
pub fn html(role: &str, token: Option<&str>) -> String {
    HTML.replace("{role}", &escaped(role)).replace("{token}", &escaped(token.unwrap_or_default()))
}

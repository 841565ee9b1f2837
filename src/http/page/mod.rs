//! The page about a node: its text, its style and its script, from the files beside this one. They
//! load nothing from other hosts.

use super::listing::escaped;

/// The script. It writes text only, never markup: names come from strangers.
pub const SCRIPT: &str = include_str!("app.js");
/// The style.
pub const STYLE: &str = include_str!("style.css");
/// The icon.
pub const ICON: &str = include_str!("icon.svg");
/// What a browser may do with the page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = include_str!("index.html");

/// The page. The token lets it search and download; without one it only shows.
#[must_use]
pub fn html(role: &str, token: Option<&str>) -> String {
    HTML.replace("{role}", &escaped(role)).replace("{token}", &escaped(token.unwrap_or_default()))
}

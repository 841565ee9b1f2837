//! The two modes of a network.

use std::fmt;

/// How nodes of a network prove who they are. A node is in one mode, and refuses nodes of the
/// other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Plain TCP and unsealed datagrams; the id of a node is a claim.
    #[default]
    Open,
    /// TLS 1.3 on every connection, sealed links; keys are proven, and credentials are checked.
    Login,
}

impl Mode {
    /// Its name, on the wire and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Open => "open",
            Mode::Login => "login",
        }
    }

    /// The mode with this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Mode> {
        [Mode::Open, Mode::Login].into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_one_name() {
        assert_eq!(Mode::of("open"), Some(Mode::Open));
        assert_eq!(Mode::of(&Mode::Login.to_string()), Some(Mode::Login));
        assert_eq!(Mode::of("Open"), None);
    }
}

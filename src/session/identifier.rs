//! Session identifiers: chosen by the caller, 4 to 128 characters, sensitive.

use std::fmt;

/// A session identifier. Whoever knows it can use the session, so `Debug` hides it and nothing logs it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(String);

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    #[error(
        "the session identifier has {length} characters; it must have {} to {}",
        Identifier::MIN_CHARACTERS,
        Identifier::MAX_CHARACTERS
    )]
    Length { length: usize },
    #[error("the session identifier holds a control character")]
    Character,
}

impl Identifier {
    /// The fewest characters (API version 2025-02-02-preview).
    pub const MIN_CHARACTERS: usize = 4;
    /// The most characters (API version 2025-02-02-preview).
    pub const MAX_CHARACTERS: usize = 128;

    /// Checks `text`, already percent-decoded. The documented character set is letters, digits and ASCII punctuation;
    /// spaces and other Unicode letters are taken too, because clients send them (the spec's checklist, row 3).
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIdentifier> {
        let text = text.into();
        let length = text.chars().count();
        if !(Self::MIN_CHARACTERS..=Self::MAX_CHARACTERS).contains(&length) {
            return Err(InvalidIdentifier::Length { length });
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidIdentifier::Character);
        }
        Ok(Self(text))
    }

    /// The text, for answers to the caller who sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identifier(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(Identifier::new("abc"), Err(InvalidIdentifier::Length { length: 3 }));
        assert!(Identifier::new("é".repeat(128)).is_ok());
        assert_eq!(Identifier::new("x".repeat(129)), Err(InvalidIdentifier::Length { length: 129 }));
    }

    #[test]
    fn what_clients_send_is_taken() {
        for text in ["user 1/é", "a|b-c&d^e%f$g#h(i)j{k}l[m]n;o<p>q", "\"';:,.?/@*_+=!~`", "0000"] {
            assert!(Identifier::new(text).is_ok(), "{text}");
        }
        assert_eq!(Identifier::new("ab\ncd"), Err(InvalidIdentifier::Character));
    }

    #[test]
    fn debug_does_not_show_it() {
        assert!(!format!("{:?}", Identifier::new("secret-1").unwrap()).contains("secret"));
    }
}

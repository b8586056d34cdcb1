//! A session: an identifier's own sandbox and file tree.

pub mod identifier;

pub use identifier::{Identifier, InvalidIdentifier};

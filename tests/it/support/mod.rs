//! What the tests share.

pub mod browser;
pub mod gateway;
pub mod guests;
pub mod http;
pub mod python;
pub mod server;

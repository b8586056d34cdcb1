//! What the tests share.

pub mod browser;
pub mod collector;
pub mod container_pools;
pub mod containers;
pub mod engines;
pub mod gateway;
pub mod guests;
pub mod http;
pub mod images;
pub mod keys;
pub mod managed;
pub mod python;
pub mod registry;
pub mod registry_tokens;
pub mod server;

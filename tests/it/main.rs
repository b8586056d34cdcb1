//! Behaviour, with real guests: over real sockets where it is the API's, in process where it is a sandbox's. One module
//! a behaviour.

mod support;

mod api_connections;
mod api_events;
mod api_executions;
mod api_files;
mod api_requests;
mod archive;
mod cells;
mod clients;
mod command_line;
mod conformance;
mod console;
mod containers;
mod durable;
mod egress;
mod egress_libraries;
mod egress_tls;
mod files;
mod files_base;
mod files_model;
mod files_read_back;
mod hibernation;
mod history;
mod interpreters;
mod isolation;
mod javascript;
mod limits;
mod metrics;
mod process;
mod records;
mod records_command;
mod redaction;
mod science;
mod sessions;
mod snapshots;
mod stored_states;
mod structure;
mod test262;
mod wasi;
mod wasi_differential;
mod wasi_guest;
mod wasi_hostile;

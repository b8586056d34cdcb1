//! `.management/` of a pool of containers: its sessions, what one wrote and where it connected to, and how the pool stands.

use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Serialize;

use super::Query;
use crate::api::call::{Answer, base, is_secure, json, link, text, timestamp};
use crate::api::error::Failure;
use crate::api::route::PoolPath;
use crate::api::sessions::{ManagedSessionList, PAGE, Session};
use crate::api::status;
use crate::egress::connections::ConnectionEnd;
use crate::gateway::ContainerSessionPool;
use crate::sandbox::container::Stream;

/// The answer to an operation of ours; None when the path is the container's.
pub(in crate::api) fn answer(
    pool: &ContainerSessionPool,
    at: &PoolPath<'_>,
    parts: &Parts,
    query: Query<'_>,
) -> Option<Answer> {
    let names = at.names();
    let [first, rest @ ..] = names.as_slice() else { return None };
    if first != ".management" {
        return None;
    }
    let [operation] = rest else { return Some(Err(Failure::NoRoute)) };
    let (allow, answer): (&str, fn(&Asked<'_>) -> Answer) = match operation.as_str() {
        "getSession" => ("POST", read),
        "listSessions" => ("POST", list),
        "stopSession" => ("POST", stop),
        "console" => ("GET", console),
        "network" => ("GET", network),
        "health" => ("GET", health),
        _ => return Some(Err(Failure::NoRoute)),
    };
    if parts.method != allow {
        return Some(Err(Failure::Method { allow: allow.into() }));
    }
    Some(answer(&Asked { pool, at, parts, query }))
}

struct Asked<'a> {
    pool: &'a ContainerSessionPool,
    at: &'a PoolPath<'a>,
    parts: &'a Parts,
    query: Query<'a>,
}

fn read(asked: &Asked<'_>) -> Answer {
    let identifier = asked.query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    let view = asked.pool.session(&identifier).ok_or(Failure::NoSession)?;
    Ok(json(StatusCode::OK, &Session::of(&view)))
}

fn stop(asked: &Asked<'_>) -> Answer {
    let identifier = asked.query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    if !asked.pool.end_session(&identifier) {
        return Err(Failure::NoSession);
    }
    let name = asked.pool.name().as_str();
    Ok(text(format!("Session {} in session pool {name} stopped.", identifier.as_str())))
}

fn list(asked: &Asked<'_>) -> Answer {
    let skip = asked.query.skip()?;
    let page = asked.pool.sessions(skip, PAGE);
    let shown = skip.saturating_add(page.sessions.len());
    let more = !page.sessions.is_empty() && shown < page.total;
    let next = || {
        let parameters = [("skip", shown.to_string())];
        let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
        let base = base(&asked.parts.headers, is_secure(asked.parts));
        link(&base, asked.query, &asked.at.prefix, "/.management/listSessions", &parameters)
    };
    let value: Vec<_> = page.sessions.iter().map(Session::of).collect();
    Ok(json(StatusCode::OK, &ManagedSessionList { count: value.len(), value, next_link: more.then(next) }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Console {
    value: Vec<Line>,
    /// Earlier lines that are not kept.
    dropped: u64,
}

#[derive(Serialize)]
struct Line {
    /// Which container beside the first one wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    time: String,
    stream: Stream,
    text: String,
}

/// What the session's containers wrote, the last of it.
fn console(asked: &Asked<'_>) -> Answer {
    let identifier = asked.query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    let instance = asked.pool.holding(&identifier).instance(&identifier).ok_or(Failure::NoSession)?;
    let first = std::iter::once((None, instance.container()));
    let beside = instance.beside().iter().map(|(name, other)| (Some(name.clone()), &**other));
    let (mut value, mut dropped) = (Vec::new(), 0);
    for (container, wrote) in first.chain(beside) {
        let (lines, missing) = wrote.console().lines();
        dropped += missing;
        value.extend(lines.into_iter().map(|line| (line.at, container.clone(), line)));
    }
    value.sort_by_key(|(at, ..)| *at);
    let line = |(at, container, line): (_, _, crate::sandbox::container::ConsoleLine)| Line {
        container,
        time: timestamp(at),
        stream: line.stream,
        text: line.text,
    };
    Ok(json(StatusCode::OK, &Console { value: value.into_iter().map(line).collect(), dropped }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    network: Vec<Connection>,
    /// Earlier connections that are not kept.
    network_omitted: u64,
}

/// A connection that has ended; `failure`: why it was not made, or cut.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The connections that the session's container made, the last of them.
fn network(asked: &Asked<'_>) -> Answer {
    let identifier = asked.query.identifier()?.ok_or(Failure::IdentifierMissing)?;
    let instance = asked.pool.holding(&identifier).instance(&identifier).ok_or(Failure::NoSession)?;
    let seen = instance.way_out().map(|way_out| way_out.seen()).unwrap_or_default();
    let shown = |connection: crate::egress::connections::Connection| Connection {
        host: connection.host,
        port: connection.port,
        failure: match connection.end {
            ConnectionEnd::Closed => None,
            ConnectionEnd::Failed(kind) => Some(kind.as_str()),
        },
        bytes_sent: connection.sent_bytes,
        bytes_received: connection.received_bytes,
    };
    let network = seen.listed.into_iter().map(shown).collect();
    Ok(json(StatusCode::OK, &Network { network, network_omitted: seen.omitted }))
}

fn health(asked: &Asked<'_>) -> Answer {
    Ok(json(StatusCode::OK, &status::Standing::of_containers(asked.pool)))
}

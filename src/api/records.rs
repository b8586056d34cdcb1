//! Records over HTTP: pages of JSON, or all that fits as JSON lines for callers who accept `application/x-ndjson`.
//!
//! The same routes exist below a pool, whose records alone they show.

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::call::{Answer, json};
use super::error::Failure;
use super::query::{Query, encode};
use crate::gateway::Gateway;
use crate::records::{By, Filter, Order, PAGE, Page, Pseudonym, Records, RecordsError, Sum, Table};

const JSON_LINES: &str = "application/x-ndjson";
/// Rows of a page whose caller does not say.
const ROWS: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    value: Vec<Box<RawValue>>,
    /// Relative: the same query from where this page ends.
    next_link: Option<String>,
}

/// `GET /records/{table}`, and the same of one `pool`.
pub(super) async fn list(
    gateway: &Gateway,
    table: Table,
    pool: Option<&str>,
    query: Query<'_>,
    headers: &HeaderMap,
) -> Answer {
    let records = gateway.records();
    let (filter, order) = (filter(records, &query, pool)?, order(&query)?);
    let cursor = whole(&query, "cursor", 0, i64::MAX)?;
    let rows = whole(&query, "top", 1, PAGE as i64)?.map_or(ROWS, |rows| rows as usize);
    if lines_wanted(headers) {
        return lines(records.clone(), table, filter, order, cursor).await;
    }
    let Page { rows: value, next } = records.page(table, filter, order, cursor, rows).await?;
    let next_link = next.map(|next| following(&query, next));
    Ok(json(StatusCode::OK, &List { value, next_link }))
}

#[derive(Serialize)]
struct Sums {
    value: Vec<Sum>,
}

/// `GET /records/usage/sums`, and the same of one `pool`.
pub(super) async fn sums(gateway: &Gateway, pool: Option<&str>, query: Query<'_>) -> Answer {
    let by = match query.get("by")? {
        None => By::Pool,
        Some(text) => {
            By::named(&text).ok_or(Failure::query("by", "must be pool, caller, day, hour, minute or tag:NAME"))?
        }
    };
    let value = gateway.records().sums(filter(gateway.records(), &query, pool)?, by).await?;
    Ok(json(StatusCode::OK, &Sums { value }))
}

/// All pages, one after the other. A page that fails later ends the stream early, without its last line end.
async fn lines(records: Records, table: Table, filter: Filter, order: Order, cursor: Option<i64>) -> Answer {
    let first = records.page(table, filter.clone(), order, cursor, PAGE).await?;
    let state = Some((Ok(first), records, filter));
    let body = stream::unfold(state, move |state| async move {
        let (page, records, filter) = state?;
        let Ok::<Page, RecordsError>(page) = page else {
            return Some((Err(std::io::Error::other("the records cannot be read further")), None));
        };
        let text: String = page.rows.iter().flat_map(|row| [row.get(), "\n"]).collect();
        let next = match page.next {
            Some(cursor) => {
                Some((records.page(table, filter.clone(), order, Some(cursor), PAGE).await, records, filter))
            }
            None => None,
        };
        Some((Ok(Bytes::from(text)), next))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    Ok(response)
}

fn lines_wanted(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).into_iter().any(|value| value.to_str().is_ok_and(|text| text.contains(JSON_LINES)))
}

/// A pool in the path stands above one in the query.
fn filter(records: &Records, query: &Query<'_>, pool: Option<&str>) -> Result<Filter, Failure> {
    let text = |name| Ok::<_, Failure>(query.get(name)?.map(|value| value.into_owned()));
    let wrong = || Failure::query("session", "must be 16 hexadecimal digits, as records show sessions");
    let shown = query.get("session")?.map(|text| Pseudonym::parse(&text).ok_or_else(wrong)).transpose()?;
    let named = query.identifier()?.and_then(|identifier| records.pseudonym(identifier.as_str()));
    let session = named.or(shown);
    Ok(Filter {
        pool: pool.map(str::to_owned).or(text("pool")?),
        session,
        execution: text("execution")?,
        caller: text("caller")?,
        operation: text("operation")?,
        since: moment(query, "since")?,
        until: moment(query, "until")?,
    })
}

fn order(query: &Query<'_>) -> Result<Order, Failure> {
    match query.get("order")?.as_deref() {
        None | Some("newest") => Ok(Order::Newest),
        Some("oldest") => Ok(Order::Oldest),
        Some(_) => Err(Failure::query("order", "must be newest or oldest")),
    }
}

/// Microseconds since 1970.
fn moment(query: &Query<'_>, name: &'static str) -> Result<Option<i64>, Failure> {
    let Some(text) = query.get(name)? else { return Ok(None) };
    let at = OffsetDateTime::parse(&text, &Rfc3339)
        .map_err(|_| Failure::query(name, "must be a date and time as in 2026-01-31T12:00:00Z"))?;
    Ok(Some(i64::try_from(at.unix_timestamp_nanos() / 1000).expect("RFC 3339 has years of four digits")))
}

fn whole(query: &Query<'_>, name: &'static str, min: i64, max: i64) -> Result<Option<i64>, Failure> {
    let Some(text) = query.get(name)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.map(Some).ok_or(Failure::query(name, "is not a whole number in its range"))
}

/// This query, from `cursor` on.
fn following(query: &Query<'_>, cursor: i64) -> String {
    let same = query.pairs().filter(|(name, _)| !name.eq_ignore_ascii_case("cursor"));
    let mut pairs: Vec<String> = same.map(|(name, raw)| format!("{name}={raw}")).collect();
    pairs.push(format!("cursor={}", encode(&cursor.to_string())));
    format!("?{}", pairs.join("&"))
}

//! Which operation a method and a path ask for: every route of the data plane, as one table.
//!
//! Matched by hand, because names of files hold slashes in the middle of a path (`/files/{name…}/content`) and two
//! routes hang on a colon. It looks at nothing but method and path: no pool is looked up, no body is read.

use std::borrow::Cow;

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::records::Table;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Liveness,
    Readiness,
    /// A document of `openapi/`.
    Document,
    Metrics,
    /// A file of the console.
    Console(String),
    Pools,
    /// Records of all pools.
    Records(Table),
    /// Use of all pools, summed up.
    Sums,
    Pool {
        pool: String,
        /// The path before the operation, as sent (normalised): links in answers start with it.
        prefix: String,
        operation: Operation,
    },
}

/// What is asked of a pool. File names are as sent by the caller: `files::ClientPath` has the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `POST /code/execute`: answered in the `properties` shape.
    ExecuteOld,
    /// `POST /executions` and its draft name `/execute`: answered in the flat shape.
    Execute,
    ReadExecution(String),
    UploadOld,
    /// Answered in the flat shape.
    Upload,
    ListFiles,
    /// The bytes, as they are.
    Content(String),
    /// The bytes, as base64 in JSON (draft 2024-09-01).
    ContentInJson(String),
    ReadFile(String),
    DeleteFile(String),
    ReadSession,
    EndSession,
    ListSessions,
    Metadata,
    ManageRead,
    ManageList,
    ManageStop,
    /// `POST /sessions/{identifier}/fork`; the identifier as it stands in the path.
    Fork(String),
    /// Records of this pool.
    Records(Table),
    Sums,
    Health,
    /// The same of the snapshots of a session.
    ListSnapshots(String),
    TakeSnapshot(String),
    /// With the snapshot, as it stands in the path.
    RestoreSnapshot(String, String),
    /// A session as one file, and back.
    Export(String),
    Import(String),
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRoute {
    Path,
    /// The path exists for these methods (the value of `Allow`).
    Method(String),
}

/// Finds the route. Empty segments (trailing and double slashes) are dropped; segments are percent-decoded after
/// splitting, so that an encoded slash stays within a name.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let decoded: Vec<Cow<'_, str>> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
    let segments: Vec<&str> = decoded.iter().map(Cow::as_ref).collect();
    find(method, &segments).ok_or_else(|| {
        let allowed = [Method::GET, Method::POST, Method::DELETE].into_iter().filter(|m| find(m, &segments).is_some());
        let names: Vec<&str> =
            allowed.flat_map(|m| if m == Method::GET { vec!["GET", "HEAD"] } else { vec![name(&m)] }).collect();
        if names.is_empty() { NoRoute::Path } else { NoRoute::Method(names.join(", ")) }
    })
}

fn name(method: &Method) -> &'static str {
    if *method == Method::POST { "POST" } else { "DELETE" }
}

/// `HEAD` is routed as `GET`; the HTTP library leaves the body away.
fn find(method: &Method, segments: &[&str]) -> Option<Route> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    match (method, segments) {
        ("GET", ["livez"]) => Some(Route::Liveness),
        ("GET", ["readyz"]) => Some(Route::Readiness),
        ("GET", ["openapi.json"] | ["openapi", "sessions.json"]) => Some(Route::Document),
        ("GET", ["metrics"]) => Some(Route::Metrics),
        ("GET", ["console", file @ ..]) => Some(Route::Console(file.join("/"))),
        ("GET", ["pools"]) => Some(Route::Pools),
        ("GET", ["records", "usage", "sums"]) => Some(Route::Sums),
        ("GET", ["records", table]) => Table::named(table).map(Route::Records),
        (_, ["pools", pool, rest @ ..]) => at_pool(pool, format!("/pools/{}", encode(pool)), method, rest),
        // Azure Resource Manager compares its own words without case.
        (_, [s, subscription, r, group, p, pool, rest @ ..])
            if s.eq_ignore_ascii_case("subscriptions")
                && r.eq_ignore_ascii_case("resourceGroups")
                && p.eq_ignore_ascii_case("sessionPools") =>
        {
            let prefix = format!("/{s}/{}/{r}/{}/{p}/{}", encode(subscription), encode(group), encode(pool));
            at_pool(pool, prefix, method, rest)
        }
        _ => None,
    }
}

/// A path under a pool's endpoint, whatever it asks for: a pool of containers has paths of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PoolPath<'a> {
    pub pool: String,
    /// The path of the pool, as in [`Route::Pool`].
    pub prefix: String,
    /// What follows, exactly as sent.
    pub rest: &'a str,
}

impl PoolPath<'_> {
    /// The segments of what follows, as routes are matched.
    pub(super) fn names(&self) -> Vec<String> {
        self.rest.split('/').filter(|s| !s.is_empty()).map(|segment| decode(segment).into_owned()).collect()
    }
}

/// The pool that `path` is under; None when it is under none.
pub(super) fn pool_path(path: &str) -> Option<PoolPath<'_>> {
    let mut segments = Vec::new();
    let mut end = 0;
    // The longer form of a pool's path has six segments.
    for part in path.split_inclusive('/') {
        if segments.len() == 6 || (segments.len() == 2 && segments[0] == "pools") {
            break;
        }
        let segment = part.trim_end_matches('/');
        if !segment.is_empty() {
            segments.push(decode(segment));
            end = part.as_ptr() as usize - path.as_ptr() as usize + segment.len();
        }
    }
    let (pool, prefix) = match segments.iter().map(Cow::as_ref).collect::<Vec<_>>().as_slice() {
        ["pools", pool] => ((*pool).to_owned(), format!("/pools/{}", encode(pool))),
        [s, subscription, r, group, p, pool]
            if s.eq_ignore_ascii_case("subscriptions")
                && r.eq_ignore_ascii_case("resourceGroups")
                && p.eq_ignore_ascii_case("sessionPools") =>
        {
            let prefix = format!("/{s}/{}/{r}/{}/{p}/{}", encode(subscription), encode(group), encode(pool));
            ((*pool).to_owned(), prefix)
        }
        _ => return None,
    };
    Some(PoolPath { pool, prefix, rest: &path[end..] })
}

fn at_pool(pool: &str, prefix: String, method: &str, rest: &[&str]) -> Option<Route> {
    operation(method, rest).map(|operation| Route::Pool { pool: pool.to_owned(), prefix, operation })
}

/// The routes of a pool. The order matters under `files`, where one path has a meaning in two generations: what the
/// 2024-02-02-preview generation fixed (`upload`, `content/…`) comes first, since it cannot say it in another way;
/// the later one can, with `path=`.
fn operation(method: &str, segments: &[&str]) -> Option<Operation> {
    Some(match (method, segments) {
        ("POST", ["code", "execute"]) => Operation::ExecuteOld,
        ("POST", ["executions" | "execute"]) => Operation::Execute,
        ("GET", ["executions" | "execute", id]) => Operation::ReadExecution((*id).to_owned()),

        ("GET", ["files"]) => Operation::ListFiles,
        ("POST", ["files" | "files:uploadFile"]) => Operation::Upload,
        ("POST", ["files", "upload"]) => Operation::UploadOld,
        ("POST", ["files", name @ ..]) => {
            Operation::ContentInJson(name.join("/").strip_suffix(":downloadFile").filter(|n| !n.is_empty())?.to_owned())
        }
        ("GET", ["files", "content", name @ ..]) if !name.is_empty() => Operation::Content(name.join("/")),
        ("GET", ["files", name @ .., "content"]) if !name.is_empty() => Operation::Content(name.join("/")),
        // What names a content is no file itself: a wrong method there is a wrong method.
        (_, ["files", "content", _, ..] | ["files", _, .., "content"]) => return None,
        (_, ["files", .., last]) if last.ends_with(":downloadFile") => return None,
        ("GET", ["files", name @ ..]) => Operation::ReadFile(name.join("/")),
        ("DELETE", ["files", name @ ..]) if !name.is_empty() => Operation::DeleteFile(name.join("/")),

        ("GET", ["session"]) => Operation::ReadSession,
        ("DELETE", ["session"]) => Operation::EndSession,
        ("POST", ["sessions", identifier, "fork"]) => Operation::Fork((*identifier).to_owned()),
        ("GET", ["sessions", identifier, "snapshots"]) => Operation::ListSnapshots((*identifier).to_owned()),
        ("POST", ["sessions", identifier, "snapshots"]) => Operation::TakeSnapshot((*identifier).to_owned()),
        ("POST", ["sessions", identifier, "snapshots", snapshot, "restore"]) => {
            Operation::RestoreSnapshot((*identifier).to_owned(), (*snapshot).to_owned())
        }
        ("GET", ["sessions", identifier, "export"]) => Operation::Export((*identifier).to_owned()),
        ("POST", ["sessions", identifier, "import"]) => Operation::Import((*identifier).to_owned()),
        ("GET", ["listSessions"]) => Operation::ListSessions,
        ("GET", ["metadata"]) => Operation::Metadata,
        ("POST", [".management", "getSession"]) => Operation::ManageRead,
        ("POST", [".management", "listSessions"]) => Operation::ManageList,
        ("POST", [".management", "stopSession"]) => Operation::ManageStop,
        ("GET", ["records", "usage", "sums"]) => Operation::Sums,
        ("GET", ["records", table]) => Operation::Records(Table::named(table)?),
        ("GET", ["health"]) => Operation::Health,
        _ => return None,
    })
}

/// Bytes that are no UTF-8 become replacement characters: no route and no file has such a name.
fn decode(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, super::query::COMPONENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> Option<Operation> {
        match route(&Method::from_bytes(method.as_bytes()).unwrap(), &format!("/pools/p{path}")) {
            Ok(Route::Pool { operation, .. }) => Some(operation),
            _ => None,
        }
    }

    #[test]
    fn every_operation_has_its_path() {
        use Operation::*;
        let table = [
            ("POST", "/code/execute", ExecuteOld),
            ("POST", "/executions", Execute),
            ("POST", "/execute", Execute),
            ("GET", "/executions/a-1", ReadExecution("a-1".into())),
            ("GET", "/execute/a-1", ReadExecution("a-1".into())),
            ("POST", "/files/upload", UploadOld),
            ("POST", "/files", Upload),
            ("POST", "/files:uploadFile", Upload),
            ("GET", "/files", ListFiles),
            ("HEAD", "/files", ListFiles),
            ("GET", "/files/content/dir/a%20b.txt", Content("dir/a b.txt".into())),
            ("GET", "/files/dir/a%20b.txt/content", Content("dir/a b.txt".into())),
            ("GET", "/files/content/content", Content("content".into())),
            ("POST", "/files/d/a.txt:downloadFile", ContentInJson("d/a.txt".into())),
            ("GET", "/files/a.txt", ReadFile("a.txt".into())),
            ("GET", "/files/content", ReadFile("content".into())),
            ("GET", "/files/a%2Fb", ReadFile("a/b".into())),
            ("DELETE", "/files/dir/é", DeleteFile("dir/é".into())),
            ("GET", "/session", ReadSession),
            ("DELETE", "/session", EndSession),
            ("POST", "/sessions/s%201/fork", Fork("s 1".into())),
            ("GET", "/sessions/s%201/snapshots", ListSnapshots("s 1".into())),
            ("POST", "/sessions/s%201/snapshots", TakeSnapshot("s 1".into())),
            ("POST", "/sessions/s%201/snapshots/7/restore", RestoreSnapshot("s 1".into(), "7".into())),
            ("GET", "/sessions/s%201/export", Export("s 1".into())),
            ("POST", "/sessions/s%201/import", Import("s 1".into())),
            ("GET", "/listSessions", ListSessions),
            ("GET", "/metadata", Metadata),
            ("POST", "/.management/getSession", ManageRead),
            ("POST", "/.management/listSessions", ManageList),
            ("POST", "/.management/stopSession", ManageStop),
            ("GET", "/records/console", Records(Table::Console)),
            ("GET", "/records/usage", Records(Table::Usage)),
            ("GET", "/records/usage/sums", Sums),
            ("GET", "/health", Health),
        ];
        for (method, path, operation) in table {
            assert_eq!(asked(method, path), Some(operation), "{method} {path}");
        }
    }

    #[test]
    fn both_prefixes_lead_to_a_pool_whatever_the_slashes_and_the_case() {
        for path in [
            "/pools/p1/session",
            "//pools//p1/session/",
            "/subscriptions/s/resourceGroups/g/sessionPools/p1/session",
            "/Subscriptions/s/resourcegroups/g/SESSIONPOOLS/p1/session//",
        ] {
            let Ok(Route::Pool { pool, operation, .. }) = route(&Method::GET, path) else { panic!("{path}") };
            assert_eq!((pool.as_str(), operation), ("p1", Operation::ReadSession), "{path}");
        }
    }

    #[test]
    fn what_is_under_a_pool_stays_as_it_was_sent() {
        for (path, pool, rest) in [
            ("/pools/app", "app", ""),
            ("/pools/app/", "app", "/"),
            ("//pools//app//a%2Fb//c/", "app", "//a%2Fb//c/"),
            ("/pools/a%70p/x", "app", "/x"),
            ("/subscriptions/s/resourceGroups/g/sessionPools/app/x/y", "app", "/x/y"),
            ("/Subscriptions/s/resourcegroups/g/SESSIONPOOLS/app", "app", ""),
        ] {
            let at = pool_path(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((at.pool.as_str(), at.rest), (pool, rest), "{path}");
        }
        for path in
            ["/", "/pools", "/pools/", "/livez", "/subscriptions/s/resourceGroups/g/sessionPools", "/x/pools/app"]
        {
            assert_eq!(pool_path(path), None, "{path}");
        }
        assert_eq!(pool_path("/pools/p/%2emanagement/x%20y").unwrap().names(), [".management", "x y"]);
    }

    #[test]
    fn the_prefix_is_kept_for_links() {
        let Ok(Route::Pool { prefix, .. }) =
            route(&Method::POST, "/subscriptions/s%201/resourceGroups/g//sessionPools/p/executions/")
        else {
            panic!("no route")
        };
        assert_eq!(prefix, "/subscriptions/s%201/resourceGroups/g/sessionPools/p");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        for (method, path, allow) in [
            ("PUT", "/livez", "GET, HEAD"),
            ("GET", "/pools/p/code/execute", "POST"),
            ("PATCH", "/pools/p/files", "GET, HEAD, POST"),
            ("POST", "/pools/p/files/a.txt", "GET, HEAD, DELETE"),
            ("POST", "/pools/p/session", "GET, HEAD, DELETE"),
            ("DELETE", "/pools/p/files/a/content", "GET, HEAD"),
            ("GET", "/pools/p/files/a:downloadFile", "POST"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), Err(NoRoute::Method(allow.into())), "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_no_route() {
        for path in [
            "/",
            "/records",
            "/records/secrets",
            "/pools/p/records/sqlite_master",
            "/pools/p",
            "/pools/p/mcp/x",
            "/python/execute",
            "/files",
            "/subscriptions/s/x/g/sessionPools/p/files",
        ] {
            assert_eq!(route(&Method::GET, path), Err(NoRoute::Path), "{path}");
        }
    }
}

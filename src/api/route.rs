//! Which operation a method and a path ask for: every route, as one table.
//!
//! Matched by hand, because names of files hold slashes in the middle of a path (`/files/{name…}/content`) and two
//! routes hang on a colon. It looks at nothing but method and path: no pool is looked up, no body is read.

use std::borrow::Cow;

use axum::http::Method;
use percent_encoding::percent_decode_str;

use super::contract::Document;
use super::control::{PoolOperation, Target};
use crate::records::Table;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Liveness,
    Readiness,
    /// A document of `openapi/`.
    Document(Document),
    /// `GET /msi/token`: a token of the gateway's own.
    Token,
    Keys(KeyOperation),
    /// Pools as resources.
    Control(Target),
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

/// What is asked about API keys; ids as they stand in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyOperation {
    List,
    Create,
    Read(String),
    Revoke(String),
    Rotate(String),
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
        let methods = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
        let allowed = methods.iter().filter(|m| find(m, &segments).is_some());
        let names: Vec<&str> =
            allowed.flat_map(|m| if m == Method::GET { vec!["GET", "HEAD"] } else { vec![m.as_str()] }).collect();
        if names.is_empty() { NoRoute::Path } else { NoRoute::Method(names.join(", ")) }
    })
}

/// `HEAD` is routed as `GET`; the HTTP library leaves the body away.
fn find(method: &Method, segments: &[&str]) -> Option<Route> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    match (method, segments) {
        ("GET", ["livez"]) => Some(Route::Liveness),
        ("GET", ["readyz"]) => Some(Route::Readiness),
        ("GET", ["openapi.json"] | ["openapi", "sessions.json"]) => Some(Route::Document(Document::Sessions)),
        ("GET", ["openapi", "management.json"]) => Some(Route::Document(Document::Management)),
        ("GET", ["msi", "token"]) => Some(Route::Token),
        (_, ["keys", rest @ ..]) => keys(method, rest).map(Route::Keys),
        ("GET", ["metrics"]) => Some(Route::Metrics),
        ("GET", ["console", file @ ..]) => Some(Route::Console(file.join("/"))),
        ("GET", ["pools"]) => Some(Route::Pools),
        ("GET", ["records", "usage", "sums"]) => Some(Route::Sums),
        ("GET", ["records", table]) => Table::named(table).map(Route::Records),
        (_, ["pools", pool, rest @ ..]) => at_pool(pool, format!("/pools/{}", encode(pool)), method, rest),
        // Azure Resource Manager compares its own words without case.
        (_, [s, subscription, rest @ ..]) if s.eq_ignore_ascii_case("subscriptions") && is_control(rest) => {
            control(method, subscription, rest).map(Route::Control)
        }
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

/// Whether what follows a subscription leads to pools as resources.
fn is_control(segments: &[&str]) -> bool {
    let provider = |segments: &[&str]| match segments {
        [providers, provider, kind, ..] => {
            providers.eq_ignore_ascii_case("providers")
                && provider.eq_ignore_ascii_case("Microsoft.App")
                && kind.eq_ignore_ascii_case("sessionPools")
        }
        _ => false,
    };
    match segments {
        [r, _, rest @ ..] if r.eq_ignore_ascii_case("resourceGroups") => provider(rest),
        rest => provider(rest) && rest.len() == 3,
    }
}

fn control(method: &str, subscription: &str, segments: &[&str]) -> Option<Target> {
    let (resource_group, rest) = match segments {
        [_, group, _, _, _, rest @ ..] => (Some((*group).to_owned()), rest),
        _ => (None, &[][..]),
    };
    let operation = match (method, rest) {
        ("GET", []) => PoolOperation::List,
        ("GET", [name]) => PoolOperation::Read((*name).to_owned()),
        ("PUT", [name]) => PoolOperation::Put((*name).to_owned()),
        ("PATCH", [name]) => PoolOperation::Patch((*name).to_owned()),
        ("DELETE", [name]) => PoolOperation::Delete((*name).to_owned()),
        ("POST", [name, action]) if is_credentials(action) => PoolOperation::Credentials((*name).to_owned()),
        _ => return None,
    };
    Some(Target { subscription: subscription.to_owned(), resource_group, operation })
}

/// The specification and the documentation of the hosted service name them differently.
fn is_credentials(action: &str) -> bool {
    ["fetchMcpServerCredentials", "rotateMcpServerCredentials", "regenerateCredentials"]
        .into_iter()
        .any(|known| known.eq_ignore_ascii_case(action))
}

fn keys(method: &str, segments: &[&str]) -> Option<KeyOperation> {
    Some(match (method, segments) {
        ("GET", []) => KeyOperation::List,
        ("POST", []) => KeyOperation::Create,
        ("GET", [id]) => KeyOperation::Read((*id).to_owned()),
        ("DELETE", [id]) => KeyOperation::Revoke((*id).to_owned()),
        ("POST", [id, "rotate"]) => KeyOperation::Rotate((*id).to_owned()),
        _ => return None,
    })
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
        ("GET", ["health"] | [".management", "health"]) => Operation::Health,
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
            ("GET", "/.management/health", Health),
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
    fn pools_are_resources_whatever_the_case() {
        let group = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/sessionPools";
        for (method, path, group, operation) in [
            ("GET", "/Subscriptions/s/Providers/microsoft.app/SESSIONPOOLS/".to_owned(), None, PoolOperation::List),
            ("GET", group.to_owned(), Some("g"), PoolOperation::List),
            ("PUT", format!("{group}/p"), Some("g"), PoolOperation::Put("p".into())),
            ("PATCH", format!("{group}/p"), Some("g"), PoolOperation::Patch("p".into())),
            ("POST", format!("{group}/p/fetchMCPServerCredentials"), Some("g"), PoolOperation::Credentials("p".into())),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let target = Target {
                subscription: "s".into(),
                resource_group: group.map(str::to_owned),
                operation: operation.clone(),
            };
            assert_eq!(route(&method, &path), Ok(Route::Control(target)), "{method} {path}");
        }
        assert_eq!(
            route(&Method::POST, &format!("{group}/p")),
            Err(NoRoute::Method("GET, HEAD, PUT, PATCH, DELETE".into()))
        );
        assert_eq!(route(&Method::GET, "/subscriptions/s/providers/Microsoft.App/jobs"), Err(NoRoute::Path));
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

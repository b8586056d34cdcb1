//! The contract: the documents of `openapi/`, embedded, served and enforced.
//!
//! Requests are checked against the very schemas that are served; tests check every answer they see with
//! [`check_response`]. Query strings and multipart bodies are checked where they are read.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::error::Failure;

/// Sessions: what clients of the hosted service call.
static SESSIONS: LazyLock<Contract> =
    LazyLock::new(|| Contract::read(include_str!("../../openapi/sessions.json"), &["ExecutionProperties", "Fork"]));
/// Pools, keys and tokens: what those who run the gateway call.
static MANAGEMENT: LazyLock<Contract> = LazyLock::new(|| {
    Contract::read(
        include_str!("../../openapi/management.json"),
        &["NewKey", "Rotation", "SessionPoolRequest", "SessionPoolUpdate"],
    )
});

fn all() -> [&'static Contract; 2] {
    [&SESSIONS, &MANAGEMENT]
}

/// The path prefix under which the document states the routes of a pool.
const SHORT: &str = "/pools/{pool}";
/// Azure Resource Manager's prefix: the same routes once more.
const LONG: &str = "/subscriptions/{subscription}/resourceGroups/{resourceGroup}/sessionPools/{pool}";

struct Contract {
    document: Value,
    served: Bytes,
    /// The schemas of request bodies, by name.
    requests: HashMap<&'static str, Validator>,
}

/// A document of `openapi/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Sessions,
    Management,
}

/// Reads the embedded documents and compiles their schemas, so that no request waits for it.
pub(super) fn warm_up() {
    all();
}

/// A document, as served.
pub(super) fn document(which: Document) -> Bytes {
    match which {
        Document::Sessions => SESSIONS.served.clone(),
        Document::Management => MANAGEMENT.served.clone(),
    }
}

/// Checks the fields of an execution request; `prefix` is the JSON pointer of where they stand in the body.
pub(super) fn check_execution(fields: &Value, prefix: &str) -> Result<(), Failure> {
    check(&SESSIONS.requests["ExecutionProperties"], fields, prefix)
}

/// Checks the body of a fork.
pub(super) fn check_fork(body: &Value) -> Result<(), Failure> {
    check(&SESSIONS.requests["Fork"], body, "")
}

/// Checks the body of a management request against the schema of this name.
pub(super) fn check_management(schema: &'static str, body: &Value) -> Result<(), Failure> {
    check(&MANAGEMENT.requests[schema], body, "")
}

fn check(validator: &Validator, fields: &Value, prefix: &str) -> Result<(), Failure> {
    if validator.is_valid(fields) {
        return Ok(());
    }
    let error = validator.iter_errors(fields).next().expect("an invalid value has an error");
    // Masked: the caller knows what it sent, and it may be long.
    Err(Failure::Contract {
        pointer: format!("{prefix}{}", error.instance_path()),
        problem: error.masked().to_string(),
    })
}

/// An answer, as a test saw it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    pub status: u16,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

/// Checks an answer against the document: the status is declared, required headers are there, the content type is
/// declared and the body fits its schema. The error says what does not fit.
pub fn check_response(seen: Seen<'_>) -> Result<(), String> {
    let found = all().into_iter().find_map(|contract| Some((contract, contract.operation(seen.method, seen.path)?)));
    let Some((contract, operation)) = found else {
        // Paths and methods outside of the contract are answered too, in the same envelope.
        return SESSIONS.check_refusal(seen);
    };
    let declared = &operation["responses"][seen.status.to_string()];
    if declared.is_null() {
        return Err(format!("{} {}: status {} is not declared", seen.method, seen.path, seen.status));
    }
    contract.check_declared(contract.resolve(declared), seen)
}

impl Contract {
    fn read(text: &str, requests: &[&'static str]) -> Self {
        let mut document: Value = serde_json::from_str(text).expect("the embedded document is JSON: a test reads it");
        add_long_paths(&mut document);
        let served = Bytes::from(document.to_string());
        let schema = |name: &str| compile(&document, json!({"$ref": format!("#/components/schemas/{name}")}));
        let requests = requests.iter().map(|name| (*name, schema(name))).collect();
        Self { document, served, requests }
    }

    /// The operation whose path template fits `path`; among several the least general: fewest variables, then longest.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let paths = self.document["paths"].as_object()?;
        // What is forwarded is the container's to say, and would hide what the gateway must not answer.
        let own = |template: &str| !template.ends_with("/{path}");
        let fitting = paths
            .iter()
            .filter(|(template, item)| own(template) && item.get(&method).is_some() && fits(template, &segments));
        let generality = |template: &str| (template.matches('{').count(), usize::MAX - template.len());
        fitting.min_by_key(|(template, _)| generality(template)).map(|(_, item)| &item[&method])
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                self.document.pointer(reference.trim_start_matches('#')).expect("references lead somewhere")
            }
            None => value,
        }
    }

    fn check_refusal(&self, seen: Seen<'_>) -> Result<(), String> {
        let name = match seen.status {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            other => {
                return Err(format!("{} {}: not in the contract, answered {other}", seen.method, seen.path));
            }
        };
        self.check_declared(&self.document["components"]["responses"][name], seen)
    }

    fn check_declared(&self, declared: &Value, seen: Seen<'_>) -> Result<(), String> {
        let header =
            |name: &str| seen.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let headers = declared["headers"].as_object().cloned().unwrap_or_default();
        for (name, header_object) in &headers {
            if self.resolve(header_object)["required"] == true && header(name).is_none() {
                return Err(format!("{} {}: {} has no header {name}", seen.method, seen.path, seen.status));
            }
        }
        let Some(content) = declared.get("content") else {
            return if seen.body.is_empty() {
                Ok(())
            } else {
                Err(format!("{} has a body, and should have none", seen.status))
            };
        };
        if seen.method == "HEAD" {
            return Ok(());
        }
        let kind = header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let media = content
            .get(kind)
            .ok_or_else(|| format!("{} {}: content type {kind:?} is not declared", seen.method, seen.path))?;
        if kind != "application/json" {
            return Ok(());
        }
        let body = serde_json::from_slice(seen.body)
            .map_err(|error| format!("{}: the body is not JSON: {error}", seen.path))?;
        let problems: Vec<String> = compile(&self.document, media["schema"].clone())
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(format!("{} {}: {}", seen.method, seen.path, problems.join("; ")))
        }
    }
}

/// Compiles a schema that may refer to the document's components.
fn compile(document: &Value, mut schema: Value) -> Validator {
    schema["components"] = json!({"schemas": document["components"]["schemas"]});
    jsonschema::draft202012::options().build(&schema).expect("the embedded schemas are valid: a test compiles each")
}

/// States every route of a pool under Azure's prefix too, so that the written document says it once.
fn add_long_paths(document: &mut Value) {
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    let short: Vec<(String, Value)> = paths
        .iter()
        .filter(|(path, _)| path.starts_with(SHORT))
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    for (path, mut item) in short {
        let item_object = item.as_object_mut().expect("a path item is an object");
        lengthen(item_object);
        paths.insert(path.replacen(SHORT, LONG, 1), item);
    }
}

fn lengthen(item: &mut Map<String, Value>) {
    for (key, part) in item {
        if key == "parameters" {
            let parameters = part.as_array_mut().expect("parameters are a list");
            parameters.push(json!({"$ref": "#/components/parameters/Subscription"}));
            parameters.push(json!({"$ref": "#/components/parameters/ResourceGroup"}));
        } else if let Some(id) = part.get("operationId").and_then(Value::as_str) {
            part["operationId"] = format!("{id}ByResource").into();
        }
    }
}

/// Whether `segments` fit a path template. A file name may hold slashes, so `{name}` takes one segment or more.
fn fits(template: &str, segments: &[&str]) -> bool {
    let wanted: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
    fits_segments(&wanted, segments)
}

fn fits_segments(wanted: &[&str], segments: &[&str]) -> bool {
    match (wanted, segments) {
        ([], []) => true,
        ([first, wanted @ ..], [_, rest @ ..]) if *first == "{name}" => {
            fits_segments(wanted, rest) || fits_segments(&[&[*first], wanted].concat(), rest)
        }
        (["{name}:downloadFile"], [.., last]) => last.ends_with(":downloadFile"),
        ([first, wanted @ ..], [segment, rest @ ..]) => {
            (first.starts_with('{') || first.eq_ignore_ascii_case(segment)) && fits_segments(wanted, rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles() {
        for Contract { document, .. } in all() {
            for name in document["components"]["schemas"].as_object().unwrap().keys() {
                compile(document, json!({"$ref": format!("#/components/schemas/{name}")}));
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, contract: &Contract) {
            match value {
                Value::Object(map) => {
                    contract.resolve(value);
                    map.values().for_each(|inner| walk(inner, contract));
                }
                Value::Array(list) => list.iter().for_each(|inner| walk(inner, contract)),
                _ => {}
            }
        }
        all().into_iter().for_each(|contract| walk(&contract.document, contract));
    }

    fn operations(contract: &Contract) -> Vec<(&str, &str, &Value)> {
        let paths = contract.document["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        });
        methods.collect()
    }

    #[test]
    fn every_path_is_stated_under_both_prefixes_with_its_own_operation_id() {
        for contract in all() {
            let paths = contract.document["paths"].as_object().unwrap();
            let count = |prefix: &str| paths.keys().filter(|path| path.starts_with(prefix)).count();
            assert_eq!(count(SHORT), count(LONG));
            let mut ids: Vec<&str> =
                operations(contract).iter().map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
            let all = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), all);
        }
    }

    /// Every documented path has its route, and every route its document: the router is asked for each.
    #[test]
    fn every_documented_operation_has_a_route() {
        for (path, method, operation) in all().into_iter().flat_map(operations) {
            let name = axum::http::Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            // A table is one of a few words; everything else may be any.
            let concrete = path.replace("{table}", "audit").replace(['{', '}'], "");
            let routed = match operation["tags"][0] == "containers" {
                true => super::super::route::pool_path(&concrete).is_some(),
                false => super::super::route::route(&name, &concrete).is_ok(),
            };
            assert!(routed, "{method} {path}");
        }
    }

    /// Whoever is not let in, or asks too much, is told so in a documented way, on every route that asks who calls.
    #[test]
    fn every_guarded_operation_documents_its_refusals() {
        for (path, method, operation) in all().into_iter().flat_map(operations) {
            let declared = |status: &str| !operation["responses"][status].is_null();
            let guarded = declared("401");
            let open = ["/livez", "/readyz", "/console", "/console/{file}"].contains(&path);
            assert_eq!(guarded, !open, "{method} {path}");
            for status in ["403", "429", "503"] {
                assert!(!guarded || declared(status) || path == "/msi/token", "{method} {path} {status}");
            }
        }
    }

    #[test]
    fn a_template_takes_names_with_slashes() {
        assert!(fits("/pools/{pool}/files/{name}/content", &["pools", "p", "files", "a", "b", "content"]));
        assert!(!fits("/pools/{pool}/files/{name}/content", &["pools", "p", "files", "content"]));
        assert!(fits("/pools/{pool}/files/{name}:downloadFile", &["pools", "p", "files", "a", "b:downloadFile"]));
    }

    #[test]
    fn an_answer_outside_of_the_contract_is_found() {
        let json = [("content-type".to_owned(), "application/json".to_owned())];
        let seen = Seen { method: "GET", path: "/livez", status: 200, headers: &json, body: br#"{"status":"alive"}"# };
        assert_eq!(check_response(seen), Ok(()));
        assert!(check_response(Seen { body: b"{}", ..seen }).is_err());
        assert!(check_response(Seen { status: 201, ..seen }).is_err());
        assert!(check_response(Seen { headers: &[], ..seen }).is_err());
    }
}
